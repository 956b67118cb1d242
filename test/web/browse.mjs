// A browser goes through sign-in: link, mail scanner, code, password, second device, sign-out everywhere, an account
// of another issuer, portal. Prints TAP.
// Needs a server (PGHOST …) where immiiq is preloaded, Chromium in $CHROMIUM, and the packages of package.json.
import { createServer } from 'node:http';
import { generateKeyPairSync, sign } from 'node:crypto';
import puppeteer from 'puppeteer-core';
import pg from 'pg';
import { server, close, provider } from './tier.mjs';

let count = 0, failed = 0;
const is = (have, want, name) => {
    const good = have === want;
    if (!good) failed++;
    console.log(`${good ? 'ok' : 'not ok'} ${++count} - ${name}`);
    if (!good) console.log(`# have: ${have}\n# want: ${want}`);
};

const admin = new pg.Client({ user: 'postgres' });
await admin.connect();
await admin.query(`CREATE ROLE web LOGIN; SELECT immiiq.grant_application('web'); CREATE ROLE mailer LOGIN; SELECT immiiq.grant_mailer('mailer')`);
const org = (await admin.query(`SELECT immiiq.create_org('Harbour') AS org`)).rows[0].org;
await admin.query(`INSERT INTO immiiq.member (org_id, email, name, scope, modules) VALUES
    ('${org}', 'ana@harbour.example', 'Ana', 'all', '{clients}'), ('${org}', 'bob@harbour.example', 'Bob', 'all', '{}')`);
const mailer = new pg.Client({ user: 'mailer' });
await mailer.connect();
const mail = async () => (await mailer.query('SELECT * FROM immiiq.take_outbox()')).rows[0];

await new Promise(done => server.listen(0, '127.0.0.1', done));
const site = `http://127.0.0.1:${server.address().port}`;

// Another issuer: whoever comes says which account is theirs, and is sent back with an ID token for it.
const keys = generateKeyPairSync('rsa', { modulusLength: 2048 });
const other = generateKeyPairSync('rsa', { modulusLength: 2048 });
const tokens = [];
const idToken = (subject, nonce, key) => {
    const part = value => Buffer.from(JSON.stringify(value)).toString('base64url');
    const now = Math.floor(Date.now() / 1000);
    const text = `${part({ alg: 'RS256', typ: 'JWT', kid: 'k1' })}.${part({ iss: provider.address, aud: 'harbour', sub: subject, nonce, iat: now, exp: now + 300 })}`;
    return `${text}.${sign('sha256', Buffer.from(text), key.privateKey).toString('base64url')}`;
};
const issuer = createServer((request, response) => {
    const url = new URL(request.url, provider.address);
    const account = url.searchParams.get('account');
    const page = account === null
        ? `<form id="account" action="/authorize"><input name="account">${['nonce', 'back'].map(n => `<input type="hidden" name="${n}" value="${url.searchParams.get(n)}">`).join('')}<button>Go</button></form>`
        : `<form id="back" method="post" action="${url.searchParams.get('back')}"><input name="id_token"><button>Back</button></form>`;
    if (account !== null) tokens.push(idToken(account, url.searchParams.get('nonce'), account === 'forged' ? other : keys));
    response.writeHead(200, { 'Content-Type': 'text/html' }).end(`<!doctype html><h1 id="title">Issuer</h1>${page}`);
});
await new Promise(done => issuer.listen(0, '127.0.0.1', done));
provider.address = `http://127.0.0.1:${issuer.address().port}`;
await admin.query('INSERT INTO immiiq.identity_provider (issuer, audience, jwks) VALUES ($1, $2, $3)',
    [provider.address, 'harbour', { keys: [{ ...keys.publicKey.export({ format: 'jwk' }), kid: 'k1', use: 'sig', alg: 'RS256' }] }]);

const browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });
// Each device is a browser context: cookies of its own.
const device = async () => (await browser.createBrowserContext()).newPage();
const title = page => page.$eval('#title', e => e.textContent);
const submit = async (page, form, fields = {}) => {
    for (const [name, value] of Object.entries(fields)) await page.$eval(`#${form} [name=${name}]`, (e, v) => { e.value = v; }, value);
    await Promise.all([page.waitForNavigation(), page.click(`#${form} button`)]);
    return title(page);
};

try {
    const laptop = await device();
    const phone = await device();

    await laptop.goto(site);
    is(await title(laptop), 'Sign in', 'nobody is signed in');
    is(await submit(laptop, 'link', { email: 'nobody@harbour.example' }), 'Look at your mail', 'an address that nobody has gets the same page');
    is(await mail(), undefined, 'and no mail');
    await laptop.goto(site);
    is(await submit(laptop, 'link', { email: 'Ana@harbour.example' }), 'Look at your mail', 'a member asks for a link');
    const first = await mail();
    is(first.email, 'ana@harbour.example', 'which is mailed');
    for (let i = 0; i < 3; i++) await fetch(`${site}/link?t=${first.token}`);
    await phone.goto(`${site}/link?t=${first.token}`);
    is(await submit(phone, 'link-use'), 'That did not work', 'in another browser the link does not do');
    await laptop.goto(`${site}/link?t=${first.token}`);
    is(await title(laptop), 'One more click', 'after a scanner has looked three times it is still good');
    is(await submit(laptop, 'link-use'), 'Signed in as Ana', 'in the browser that asked it is');
    is(await laptop.$eval('#log', e => e.children[0].textContent), 'link ok', 'and the member sees it in the log');
    await phone.goto(`${site}/link?t=${first.token}`);
    is(await title(phone), 'That did not work', 'nobody can use it again');

    await laptop.goto(site);
    is(await submit(laptop, 'password-set', { password: 'short' }), 'Not accepted', 'a short password is not accepted');
    await laptop.goto(site);
    is(await submit(laptop, 'password-set', { password: 'correct horse battery' }), 'Signed in as Ana', 'a longer one is');

    await phone.goto(site);
    is(await submit(phone, 'link', { email: 'ana@harbour.example' }), 'Look at your mail', 'a second device asks for a link');
    const second = await mail();
    is(await submit(phone, 'code', { code: second.code === '000000' ? '000001' : '000000' }), 'That did not work', 'a wrong code');
    await phone.goto(site);
    await submit(phone, 'link', { email: 'ana@harbour.example' });
    is(await submit(phone, 'code', { code: (await mail()).code }), 'Signed in as Ana', 'the right one, typed by hand');
    await laptop.goto(site);
    is(await title(laptop), 'Sign in', 'and the first device is signed out');

    is(await submit(laptop, 'password', { email: 'ana@harbour.example', password: 'wrong' }), 'That did not work', 'a wrong password');
    await laptop.goto(site);
    is(await submit(laptop, 'password', { email: 'ana@harbour.example', password: 'correct horse battery' }), 'Signed in as Ana', 'the right one');
    await phone.goto(site);
    is(await title(phone), 'Sign in', 'signs the phone out');
    const stolen = (await laptop.cookies()).find(c => c.name === 'session').value;
    is(await submit(laptop, 'everywhere'), 'Sign in', 'signing out everywhere');
    await phone.setCookie({ name: 'session', value: stolen, url: site });
    await phone.goto(site);
    is(await title(phone), 'Sign in', 'ends the session for whoever has copied its cookie, too');

    const stranger = await device();
    const tries = [];
    for (let i = 0; i < 6; i++) {
        await stranger.goto(site);
        tries.push(await submit(stranger, 'password', { email: 'ana@harbour.example', password: `guess ${i}` }));
    }
    is(tries.at(-1), 'Try again later', 'a stranger who guesses is throttled');
    await laptop.goto(site);
    is(await submit(laptop, 'password', { email: 'ana@harbour.example', password: 'correct horse battery' }), 'Signed in as Ana', 'the member on a known device is not');

    // By way of the issuer, as this account; what is handed over may be a token from elsewhere.
    const byIssuer = async (page, account, token) => {
        await page.goto(`${site}/identity`);
        await submit(page, 'account', { account });
        return submit(page, 'back', { id_token: token ?? tokens.at(-1) });
    };
    const tablet = await device();
    await tablet.goto(site);
    is(await byIssuer(tablet, 'ana-7'), 'That did not work', 'an account of another issuer that nobody has linked signs nobody in');
    is(await byIssuer(laptop, 'forged'), 'That did not work', 'a token by another key links nothing');
    is(await byIssuer(laptop, 'ana-7'), 'Signed in as Ana', 'a member who is signed in links hers');
    is(await byIssuer(tablet, 'ana-7', tokens.at(-1)), 'That did not work', 'the token that linked it is none of another browser\'s');
    is(await byIssuer(tablet, 'mallory'), 'That did not work', 'another account of that issuer is nobody');
    is(await byIssuer(tablet, 'forged'), 'That did not work', 'nor does a token by another key sign in');
    is(await byIssuer(tablet, 'ana-7'), 'Signed in as Ana', 'her account signs her in');
    await laptop.goto(site);
    is(await title(laptop), 'Sign in', 'on one device at a time');
    is(await byIssuer(laptop, 'ana-7'), 'Signed in as Ana', 'on the other one again');

    const session = (await laptop.cookies()).find(c => c.name === 'session').value;
    const web = new pg.Client({ user: 'web' });
    await web.connect();
    await web.query('BEGIN');
    await web.query(`SELECT set_config('immiiq.token', $1, true)`, [session]);
    await web.query(`SELECT immiiq.issue_portal_link(gen_random_uuid(), 'client@example.org')`);
    await web.query('COMMIT');
    await web.end();
    const portal = await mail();
    is(portal.kind, 'portal', 'a link into the portal is mailed');
    const client = await device();
    await client.goto(`${site}/portal?t=${portal.token}`);
    is(await submit(client, 'portal-use'), 'Portal: portal, 0 members', 'the client enters, and sees no member');
    const inside = (await client.cookies()).find(c => c.name === 'session').value;
    is(inside.startsWith('iq_p_'), true, 'with a token of the portal');
    await client.goto(site);
    is(await title(client), 'Signed in as undefined', 'which makes nobody a member');
    await client.goto(`${site}/link?t=${portal.token}`);
    is(await title(client), 'That did not work', 'nor is its link one for staff');
} catch (error) {
    failed++;
    console.log(`not ok ${++count} - ${error.stack.replaceAll('\n', '\n# ')}`);
} finally {
    await browser.close();
    server.close();
    issuer.close();
    await Promise.all([close(), admin.end(), mailer.end()]);
}
console.log(`1..${count}`);
process.exit(failed ? 1 : 0);
