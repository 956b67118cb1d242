// A web tier on immiiq's sign-in: it passes along what the browser sent and sets cookies; the database decides.
// Plain HTTP, for a test on one machine: in earnest the cookies are Secure and __Host-.
import { createServer } from 'node:http';
import { randomBytes } from 'node:crypto';
import pg from 'pg';

// Where accounts of another issuer are asked for; its answer is a form that the browser posts here.
export const provider = { address: null };
const pool = new pg.Pool({ user: 'web', max: 8 });
const html = (title, body) => `<!doctype html><meta charset="utf-8"><title>${title}</title><h1 id="title">${title}</h1>${body}`;
const form = (action, fields, label) => `<form id="${action.slice(1).replaceAll('/', '-')}" method="post" action="${action}">` +
    fields.map(f => `<input name="${f.name}" type="${f.type ?? 'text'}" value="${f.value ?? ''}">`).join('') + `<button>${label}</button></form>`;
const escaped = text => String(text).replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);
const signIn = html('Sign in', form('/link', [{ name: 'email' }], 'Send a link') + form('/password', [{ name: 'email' }, { name: 'password', type: 'password' }], 'Sign in'));
const mail = email => html('Look at your mail', form('/code', [{ name: 'email', type: 'hidden', value: escaped(email) }, { name: 'code' }], 'Use the code'));

// One request, one transaction, one identity.
async function as(token, address, work) {
    const client = await pool.connect();
    try {
        await client.query('BEGIN');
        await client.query('SELECT immiiq.authenticate($1, $2)', [token, address]);
        const result = await work(client);
        await client.query('COMMIT');
        return result;
    } catch (error) {
        await client.query('ROLLBACK');
        throw error;
    } finally {
        client.release();
    }
}

async function answer(request, body) {
    const url = new URL(request.url, 'http://tier');
    const cookies = Object.fromEntries((request.headers.cookie ?? '').split('; ').map(c => c.split('=')));
    const address = request.socket.remoteAddress;
    const device = cookies.device ?? randomBytes(32).toString('base64url');
    const where = [address, request.headers['user-agent'], device];
    const set = { device };
    const signedIn = row => row.verdict === 'ok' ? { set: { ...set, session: row.session_token }, go: row.client_id ? '/portal' : '/' }
        : { set, page: html(row.verdict === 'throttled' ? 'Try again later' : 'That did not work', '') };
    const one = async (query, values) => (await pool.query(query, values)).rows[0];

    switch (`${request.method} ${url.pathname}`) {
        case 'GET /':
            if (!cookies.session) return { set, page: signIn };
            return as(cookies.session, address, async db => {
                const me = (await db.query('SELECT name FROM immiiq.member WHERE member_id = immiiq.current_member()')).rows[0];
                const log = (await db.query('SELECT method, verdict FROM immiiq.sign_in_log ORDER BY attempt_id DESC LIMIT 5')).rows;
                return { set, page: html(`Signed in as ${escaped(me?.name)}`,
                    `<ul id="log">${log.map(l => `<li>${l.method} ${l.verdict}</li>`).join('')}</ul>` + form('/everywhere', [], 'Sign out everywhere') +
                    form('/password/set', [{ name: 'password', type: 'password' }], 'Set a password')) };
            }).catch(() => ({ set: { ...set, session: '' }, page: signIn }));
        case 'POST /link': {
            const nonce = randomBytes(32).toString('base64url');
            const row = await one('SELECT verdict FROM immiiq.issue_link($1, nonce => $2, ip => $3, user_agent => $4, device => $5)', [body.get('email'), nonce, ...where]);
            return { set: { ...set, nonce }, page: row.verdict === 'ok' ? mail(body.get('email')) : html('Try again later', '') };
        }
        case 'GET /link':
            return { set, page: (await one('SELECT verdict FROM immiiq.peek_link($1)', [url.searchParams.get('t')])).verdict === 'ok'
                ? html('One more click', form('/link/use', [{ name: 't', type: 'hidden', value: escaped(url.searchParams.get('t')) }], 'Sign in')) : html('That did not work', '') };
        case 'POST /link/use':
            return signedIn(await one('SELECT * FROM immiiq.redeem_link($1, nonce => $2, ip => $3, user_agent => $4, device => $5)', [body.get('t'), cookies.nonce, ...where]));
        case 'POST /code':
            return signedIn(await one('SELECT * FROM immiiq.redeem_link($1, email => $2, ip => $3, user_agent => $4, device => $5)', [body.get('code'), body.get('email'), ...where]));
        case 'POST /password':
            return signedIn(await one('SELECT * FROM immiiq.sign_in_password($1, $2, ip => $3, user_agent => $4, device => $5)', [body.get('email'), body.get('password'), ...where]));
        case 'POST /password/set':
            return as(cookies.session, address, db => db.query('SELECT immiiq.set_password($1)', [body.get('password')]))
                .then(() => ({ go: '/' })).catch(error => ({ page: html('Not accepted', escaped(error.code)) }));
        case 'GET /identity': {
            const asked = randomBytes(32).toString('base64url');
            return { set: { ...set, asked }, go: `${provider.address}/authorize?nonce=${asked}&back=${encodeURIComponent(`http://${request.headers.host}/identity`)}` };
        }
        case 'POST /identity': {
            const said = [body.get('id_token'), cookies.asked];
            if (!cookies.session) return signedIn(await one('SELECT * FROM immiiq.sign_in_identity($1, $2, ip => $3, user_agent => $4, device => $5)', [...said, ...where]));
            return as(cookies.session, address, async db => (await db.query('SELECT immiiq.link_identity($1, $2) AS verdict', said)).rows[0].verdict === 'ok'
                ? { set, go: '/' } : { set, page: html('That did not work', '') }).catch(() => ({ set, page: html('That did not work', '') }));
        }
        case 'POST /everywhere':
            await as(cookies.session, address, db => db.query('SELECT immiiq.sign_out_everywhere()'));
            return { set: { session: '' }, go: '/' };
        case 'GET /portal':
            if (url.searchParams.has('t')) return { page: html('Welcome', form('/portal/use', [{ name: 't', type: 'hidden', value: escaped(url.searchParams.get('t')) }], 'Enter')) };
            return as(cookies.session, address, async db => {
                const seen = (await db.query('SELECT immiiq.current_actor() AS actor, (SELECT count(*) FROM immiiq.member) AS members')).rows[0];
                return { page: html(`Portal: ${seen.actor}, ${seen.members} members`, '') };
            }).catch(() => ({ page: html('The portal is closed', '') }));
        case 'POST /portal/use':
            return signedIn(await one('SELECT * FROM immiiq.redeem_portal_link($1, ip => $2, user_agent => $3, device => $4)', [body.get('t'), ...where]));
    }
    return { status: 404, page: html('Nothing here', '') };
}

export const server = createServer(async (request, response) => {
    try {
        let text = '';
        for await (const chunk of request) text += chunk;
        const { status, set = {}, go, page } = await answer(request, new URLSearchParams(text));
        response.setHeader('Set-Cookie', Object.entries(set).map(([name, value]) => `${name}=${value}; Path=/; HttpOnly; SameSite=Lax${value ? '' : '; Max-Age=0'}`));
        if (go) response.writeHead(303, { Location: go }).end();
        else response.writeHead(status ?? 200, { 'Content-Type': 'text/html; charset=utf-8', 'Referrer-Policy': 'no-referrer' }).end(page);
    } catch (error) {
        response.writeHead(500).end(html('Error', ''));
        console.error(error);
    }
});
export const close = () => pool.end();
