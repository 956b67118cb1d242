// The portal's web tier: reads the request, sends plain SQL as the signed-in user, writes HTML. There is no question in it of who may do what.
import { createServer } from 'node:http';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { all, anyone, as, sql } from './sql.mjs';
import { checkProof } from './proof.mjs';
import * as page from './pages.mjs';

const files = Object.fromEntries(Object.entries({ 'style.css': 'text/css; charset=utf-8', 'icon.svg': 'image/svg+xml' }).map(([name, type]) => {
    const bytes = readFileSync(new URL(name, import.meta.url));
    return [`GET /${name}`, { bytes, type, etag: `"${createHash('sha256').update(bytes).digest('base64url')}"` }];
}));
const headers = {
    'Content-Security-Policy': "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    'Strict-Transport-Security': 'max-age=63072000; includeSubDomains',
    'X-Frame-Options': 'DENY', 'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'no-referrer', 'Cache-Control': 'no-store',
    'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Resource-Policy': 'same-origin',
    'Permissions-Policy': ['accelerometer', 'autoplay', 'camera', 'display-capture', 'encrypted-media', 'fullscreen', 'geolocation', 'gyroscope', 'hid',
        'identity-credentials-get', 'idle-detection', 'local-fonts', 'magnetometer', 'microphone', 'midi', 'payment', 'picture-in-picture',
        'publickey-credentials-create', 'publickey-credentials-get', 'screen-wake-lock', 'serial', 'usb', 'xr-spatial-tracking'].map(f => `${f}=()`).join(', '),
};
const cookie = (name, value, age) => `__Host-${name}=${value}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=${value ? age : 0}`;
const first = async result => (await result).rows[0];
const rows = async result => (await result).rows;
const there = result => { if (!result.rowCount) throw Object.assign(new Error('nothing there'), { code: 'P0002' }); return result.rows[0]; };
const text = (form, name) => form.get(name)?.trim() || null;
const id = '([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})';

// ---- signing in: as nobody ----

const entered = row => row.verdict === 'ok' ? { go: '/clients', set: [cookie('session', row.session_token, 86400), cookie('nonce', '')] }
    : { status: row.verdict === 'throttled' ? 429 : 403, page: page.refusedSignIn(row.verdict === 'throttled') };
const open = {
    'GET /': () => ({ go: '/clients' }),
    'GET /sign-in': () => ({ page: page.signIn() }),
    'POST /sign-in': async ({ form, where }) => {
        const nonce = randomBytes(32).toString('base64url'), email = text(form, 'email') ?? '';
        const { verdict } = await first(anyone(sql`SELECT verdict FROM immiiq.issue_link(${email}, nonce => ${nonce},
            ip => ${where[0]}, user_agent => ${where[1]}, device => ${where[2]})`));
        return verdict === 'ok' ? { page: page.lookAtMail(email), set: [cookie('nonce', nonce, 600)] } : entered({ verdict });
    },
    // Mail scanners open links: the link only shows a button.
    'GET /link': async ({ query }) => {
        const token = query.get('t') ?? '';
        const { verdict } = await first(anyone(sql`SELECT verdict FROM immiiq.peek_link(${token})`));
        return verdict === 'ok' ? { page: page.useLink(token) } : entered({ verdict });
    },
    'POST /link': async ({ form, cookies, where }) => entered(await first(anyone(sql`SELECT * FROM immiiq.redeem_link(${text(form, 't')},
        nonce => ${cookies.nonce}, ip => ${where[0]}, user_agent => ${where[1]}, device => ${where[2]})`))),
    'POST /code': async ({ form, where }) => entered(await first(anyone(sql`SELECT * FROM immiiq.redeem_link(${text(form, 'code')},
        email => ${text(form, 'email')}, ip => ${where[0]}, user_agent => ${where[1]}, device => ${where[2]})`))),
};

// ---- everything else: as whoever is signed in ----

const orders = {
    name: { up: sql`latin_name::text COLLATE "und-x-icu"`, down: sql`latin_name::text COLLATE "und-x-icu" DESC` },
    born: { up: sql`birth_date::date`, down: sql`birth_date::date DESC` },
    since: { up: sql`since`, down: sql`since DESC` },
};
const size = 20;
const pattern = word => `%${word.replace(/[\\%_]/g, '\\$&')}%`;
const find = q => sql`WHERE name = ${q} OR passport_no = ${q} OR phone = ${q} OR email = ${q} ${isDay(q) ? sql`OR birth_date = ${q}` : sql``}
    OR (${all(q.split(/[\s,]+/).filter(Boolean).concat(/^[\s,]*$/.test(q) ? [q] : []).map(word => sql`latin_name ILIKE ${pattern(word)}`), sql` AND `)})`;
const isDay = q => /^\d{4}-\d\d-\d\d$/.test(q) && new Date(q).toJSON()?.startsWith(q);

const signedIn = {
    'GET /clients': async ({ ask, query }) => {
        const q = text(query, 'q') ?? '', sort = Object.hasOwn(orders, query.get('sort')) ? query.get('sort') : 'name';
        const way = query.get('way') === 'down' ? 'down' : 'up', number = Math.min(Math.max(parseInt(query.get('page')) || 1, 1), 100000);
        const list = await rows(ask(sql`SELECT client_id, name, latin_name, birth_date, nationality, status, since, count(*) OVER () AS total
            FROM clients ${q ? find(q) : sql``} ORDER BY ${orders[sort][way]}, client_id LIMIT ${size} OFFSET ${(number - 1) * size}`));
        return { page: page.clients({ list, q, sort, way, number, size }) };
    },
    [`GET /clients/${id}`]: async ({ ask, ids: [client] }) => ({ page: page.client({
        client: there(await ask(sql`SELECT * FROM clients WHERE client_id = ${client}`)),
        cases: await rows(ask(sql`SELECT c.*, m.name AS handler, t.name AS team FROM cases c LEFT JOIN immiiq.member m ON m.member_id = c.assignee_id
            LEFT JOIN immiiq.team t ON t.team_id = c.team_id WHERE client_id = ${client} ORDER BY opened_on DESC`)),
        documents: await rows(ask(sql`SELECT d.*, f.filename FROM documents d LEFT JOIN immiiq.document f USING (org_id, document_id)
            WHERE d.client_id = ${client} ORDER BY expires_on DESC NULLS LAST`)),
        messages: await rows(ask(sql`SELECT * FROM communications WHERE client_id = ${client} ORDER BY at DESC LIMIT 50`)),
        invoices: await rows(ask(sql`SELECT * FROM invoices WHERE client_id = ${client} ORDER BY issued_on DESC`)),
        history: await rows(ask(sql`SELECT l.position, l.at, l.actor, m.name, l.table_name, l.operation FROM immiiq.audit_log l
            LEFT JOIN immiiq.member m USING (member_id) WHERE client_id = ${client} ORDER BY position DESC LIMIT 20`)),
    }) }),
    [`POST /clients/${id}`]: async ({ ask, ids: [client], form }) => {
        there(await ask(sql`UPDATE clients SET phone = ${text(form, 'phone')}, email = ${text(form, 'email')}, status = ${text(form, 'status')}
            WHERE client_id = ${client} RETURNING client_id`));
        return { go: `/clients/${client}` };
    },
    [`POST /clients/${id}/messages`]: async ({ ask, ids: [client], form }) => {
        await ask(sql`INSERT INTO communications (client_id, channel, at, subject, body)
            VALUES (${client}, ${text(form, 'channel')}, now(), ${text(form, 'subject')}, ${text(form, 'body')})`);
        return { go: `/clients/${client}#messages` };
    },
    [`GET /clients/${id}/access`]: async ({ ask, ids: [client] }) => ({ page: page.access({
        client: there(await ask(sql`SELECT client_id, name FROM clients WHERE client_id = ${client}`)),
        list: await rows(ask(sql`SELECT m.name, r.actor, r.source, r.action, r.certainty, max(r.at) AS at, count(*) AS times, string_agg(DISTINCT r.object, ', ') AS objects
            FROM immiiq.access_report(${client}) r LEFT JOIN immiiq.member m USING (member_id) GROUP BY 1, 2, 3, 4, 5 ORDER BY r.certainty, 6 DESC LIMIT 100`)),
    }) }),
    // The URL is good for a minute, for this person; that it was given is on record.
    [`GET /documents/${id}`]: async ({ ask, ids: [document] }) =>
        ({ go: (await first(ask(sql`SELECT url FROM immiiq.presign_get(${document}, '1 minute', shown => true)`))).url }),

    'GET /team': async ({ ask }) => ({ page: page.team({
        members: await rows(ask(sql`SELECT m.*, r.name AS role, ARRAY(SELECT team_id FROM immiiq.team_member t WHERE t.member_id = m.member_id) AS teams
            FROM immiiq.member m LEFT JOIN immiiq.role_template r USING (org_id, role_template_id) ORDER BY m.active DESC, m.name COLLATE "und-x-icu"`)),
        teams: await rows(ask(sql`SELECT team_id, name FROM immiiq.team ORDER BY name`)),
        templates: await rows(ask(sql`SELECT role_template_id, name FROM immiiq.role_template ORDER BY name`)),
    }) }),
    'POST /team': async ({ ask, form }) => {
        await ask(sql`INSERT INTO immiiq.member (name, email, role_template_id) VALUES (${text(form, 'name')}, ${text(form, 'email')}, ${text(form, 'role')})`);
        return { go: '/team' };
    },
    [`POST /team/${id}`]: async ({ ask, ids: [member], form }) => {
        const teams = form.getAll('team');
        there(await ask(sql`UPDATE immiiq.member SET scope = ${text(form, 'seen')}, modules = ${form.getAll('module')},
            active = ${form.has('active')} WHERE member_id = ${member} RETURNING 1`));
        await ask(sql`DELETE FROM immiiq.team_member WHERE member_id = ${member} AND team_id <> ALL (${teams}::uuid[])`);
        await ask(sql`INSERT INTO immiiq.team_member (team_id, member_id) SELECT t, ${member} FROM unnest(${teams}::uuid[]) t ON CONFLICT DO NOTHING`);
        return { go: `/team#m-${member}` };
    },

    'GET /log': async ({ ask, query }) => {
        const before = /^\d{1,15}$/.test(query.get('before')) ? query.get('before') : '9000000000000000';
        return { page: page.log({
            head: await first(ask(sql`SELECT position AS entries, at FROM immiiq.leaf ORDER BY position DESC LIMIT 1`)),
            waiting: (await first(ask(sql`SELECT count(*) AS n FROM immiiq.audit_waiting`))).n,
            recent: await rows(ask(sql`SELECT l.position, l.at, l.actor, m.name, l.table_name, l.operation, l.client_ip FROM immiiq.audit_log l
                LEFT JOIN immiiq.member m USING (member_id) WHERE position < ${before} ORDER BY position DESC LIMIT 160`)),
            opened: await rows(ask(sql`SELECT m.name, f.actor, f.column_name, sum(f.opened) AS opened FROM immiiq.field_access f
                LEFT JOIN immiiq.member m USING (member_id) WHERE f.at > now() - interval '1 day' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`)),
            papers: await rows(ask(sql`SELECT a.at, a.action, a.document_id, a.client_id, m.name, a.client_ip FROM immiiq.document_access a
                LEFT JOIN immiiq.member m USING (member_id) ORDER BY at DESC LIMIT 12`)),
            denials: await rows(ask(sql`SELECT d.at, d.action, d.object, d.sqlstate, m.name, d.client_ip FROM immiiq.denial d
                LEFT JOIN immiiq.member m USING (member_id) ORDER BY at DESC LIMIT 12`)),
        }) };
    },
    'GET /log/(\\d{1,15})': async ({ ask, ids: [position] }) => {
        const entry = there(await ask(sql`SELECT l.*, m.name FROM immiiq.audit_log l LEFT JOIN immiiq.member m USING (member_id) WHERE position = ${position}`));
        const { body, proof, key } = await first(ask(sql`SELECT immiiq.entry_bytes(e) AS body, immiiq.prove_entry(l.org_id, l.position) AS proof, immiiq.log_verifier() AS key
            FROM immiiq.leaf l JOIN immiiq.entry e USING (month, incarnation, txid, seq) WHERE l.position = ${position}`));
        return { page: page.entry({ entry, proof, key, ...checkProof(body, position, proof, key) }) };
    },
    'GET /posture': async ({ ask }) => ({ page: page.posture(await rows(ask(sql`SELECT * FROM portal.posture()`))) }),
    'POST /sign-out': async ({ ask, form }) => {
        await ask(form.has('everywhere') ? sql`SELECT immiiq.sign_out_everywhere()` : sql`SELECT immiiq.sign_out()`);
        return { go: '/sign-in', set: [cookie('session', '')] };
    },
};

// ---- HTTP ----

const compile = routes => Object.entries(routes).map(([route, work]) => ({ route: new RegExp(`^${route}$`), work }));
const [openRoutes, signedInRoutes] = [compile(open), compile(signedIn)];
const match = (routes, wanted) => routes.map(({ route, work }) => ({ found: route.exec(wanted), work })).find(({ found }) => found);

async function read(request) {
    const parts = [];
    let length = 0;
    for await (const part of request) {
        if ((length += part.length) > 65536) throw Object.assign(new Error('too long'), { status: 413 });
        parts.push(part);
    }
    return new URLSearchParams(Buffer.concat(parts).toString());
}

async function answer(request) {
    const url = new URL(request.url, 'http://portal'), wanted = `${request.method.replace(/^HEAD$/, 'GET')} ${url.pathname}`;
    if (Object.hasOwn(files, wanted)) return { file: files[wanted] };
    // A form of another site is not ours, whatever cookies come with it.
    if (request.method === 'POST' && request.headers['sec-fetch-site'] !== 'same-origin') return { status: 403, page: page.failed(403, 'This form was not sent from this site.') };
    const cookies = Object.fromEntries((request.headers.cookie ?? '').split('; ').filter(c => c.startsWith('__Host-')).map(c => c.slice(7).split(/=(.*)/s)));
    const device = /^[\w-]{43}$/.test(cookies.device) ? cookies.device : randomBytes(32).toString('base64url');
    const where = [request.socket.remoteAddress, request.headers['user-agent'] ?? null, device];
    const asked = { query: url.searchParams, form: request.method === 'POST' ? await read(request) : null, cookies, where };
    const set = cookies.device === device ? [] : [cookie('device', device, 31536000)];
    let route = match(openRoutes, wanted), result;
    if (route) result = await route.work(asked);
    else if (!(route = match(signedInRoutes, wanted))) return { status: 404, page: page.failed(404) };
    else if (!cookies.session) return { status: 401, page: page.signIn(), set };
    else result = await as(cookies.session, ...where.slice(0, 2), async ask => {
        const me = await first(ask(sql`SELECT m.name, m.scope, o.name AS practice
            FROM immiiq.member m JOIN immiiq.org o USING (org_id) WHERE member_id = immiiq.current_member()`));
        const made = await route.work({ ...asked, ask, ids: route.found.slice(1) });
        return { ...made, page: made.page && page.frame(made.page, me, url.pathname) };
    });
    return { ...result, set: [...set, ...result.set ?? []] };
}

// What PostgreSQL says no with, as a page. Messages stay here: they are for whoever runs the portal.
function refused(error) {
    if (error.code === 'IQ010') return { status: 401, page: page.signIn(true), set: [cookie('session', '')] };
    if (error.code === '42501') return { status: 403, page: page.failed(403) };
    if (error.code === 'P0002') return { status: 404, page: page.failed(404) };
    if (error.status === 413) return { status: 413, page: page.failed(413) };
    if (/^2[23]/.test(error.code)) return { status: 400, page: page.failed(400) };
    console.error(error.code ?? error.stack);
    return { status: 500, page: page.failed(500) };
}

export const server = createServer({ requestTimeout: 10000 }, async (request, response) => {
    const { status, page: made, go, set, file } = await answer(request).catch(refused);
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    if (set?.length) response.setHeader('Set-Cookie', set);
    if (file) {
        response.setHeader('Cache-Control', 'max-age=300').setHeader('ETag', file.etag);
        return request.headers['if-none-match'] === file.etag ? response.writeHead(304).end() : response.writeHead(200, { 'Content-Type': file.type }).end(file.bytes);
    }
    if (go) return response.writeHead(303, { Location: go }).end();
    response.writeHead(status ?? 200, { 'Content-Type': 'text/html; charset=utf-8' }).end(page.whole(made));
});
if (process.argv[1] === import.meta.filename) server.listen(process.env.PORT ?? 8080, '127.0.0.1');
