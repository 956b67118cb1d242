// A browser drives docs/examples/portal: as four members of different scope, and as attackers. Prints TAP.
// Needs a server (PGHOST …) with the demo's data in PGDATABASE, Chromium in $CHROMIUM, and the packages of the portal and of package.json.
// SHOTS=folder writes the pictures of the portal's README there.
import { execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';

const portal = new URL('../../docs/examples/portal/', import.meta.url);
const axe = readFileSync(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const pg = createRequire(new URL('server.mjs', portal))('pg');

let count = 0, failed = 0;
const is = (have, want, name) => {
    const good = JSON.stringify(have) === JSON.stringify(want);
    if (!good) failed++;
    console.log(`${good ? 'ok' : 'not ok'} ${++count} - ${name}`);
    if (!good) console.log(`# have: ${JSON.stringify(have)}\n# want: ${JSON.stringify(want)}`);
};

process.env.BUCKET_SECRET = 'only-the-bucket-has-it';
const outside = await import(new URL('outside.mjs', portal)), { server } = await import(new URL('server.mjs', portal)), { close } = await import(new URL('sql.mjs', portal));
const listen = (what, host = '127.0.0.1') => new Promise(done => what.listen(0, host, () => done(what.address().port)));
const bucket = `http://localhost:${await listen(outside.server)}`, site = `http://localhost:${await listen(server)}`;

// What everybody must see, from the generator of the data.
const admin = new pg.Client({ user: 'postgres' });
await admin.connect();
const one = async (text, values) => (await admin.query(text, values)).rows[0];
const number = Number(process.env.CLIENTS);
await admin.query(`CREATE TEMPORARY TABLE made AS SELECT * FROM generator.client(1, 1, ${number})`);
await admin.query('CREATE TEMPORARY TABLE practice AS SELECT * FROM generator.practice');
const want = await one(`SELECT count(*)::int AS practice, count(*) FILTER (WHERE team = 3)::int AS asylum, count(*) FILTER (WHERE team IN (3, 4))::int AS two,
        count(*) FILTER (WHERE team = 3 AND desk = 1 AND status = 'open')::int AS own,
        (array_agg(client_id ORDER BY i) FILTER (WHERE team = 3 AND desk = 1 AND status = 'open' AND generator.draw(who, 52, 2) = 1 AND nationality IN ('Iran', 'Syria', 'Ukraine')))[1] AS aminas,
        (array_agg(generator.id('document', who) ORDER BY i) FILTER (WHERE team = 3 AND desk = 1 AND status = 'open' AND generator.draw(who, 52, 2) = 1 AND nationality IN ('Iran', 'Syria', 'Ukraine')))[1] AS paper,
        (array_agg(client_id ORDER BY i) FILTER (WHERE team = 2))[1] AS familys, (array_agg(client_id ORDER BY i) FILTER (WHERE team = 4))[1] AS fourths
    FROM made`);
const member = who => generatorId('member', who), generatorId = (kind, who) => one(`SELECT overlay(overlay(md5($1::text || $2::text) PLACING '4' FROM 13) PLACING 'a' FROM 17)::uuid AS id`, [kind, who]).then(row => row.id);
const person = await one('SELECT * FROM made WHERE client_id = $1', [want.aminas]);
execFileSync('psql', ['-X', '-q', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-v', `bucket=${bucket}`, '-v', `secret=${process.env.BUCKET_SECRET}`,
    '-f', new URL('setup.sql', portal).pathname], { stdio: 'inherit' });

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });
const noise = [];                                               // scripts that ran, policies that were broken
const device = async (options = {}) => {
    const context = await browser.newContext({ viewport: { width: 1200, height: 800 }, ...options }), page = await context.newPage();
    page.on('dialog', dialog => { noise.push(dialog.message()); dialog.dismiss(); });
    page.on('console', message => { if (/Content.Security|Permissions-Policy/i.test(message.text())) noise.push(message.text()); });
    page.on('pageerror', error => noise.push(error.message));
    return page;
};
const letter = async () => (await outside.deliver())[0];
const signIn = async (email, options) => {
    const page = await device(options);
    await page.goto(`${site}/`);
    await page.getByLabel('E-mail address').fill(email);
    await go(page, page.getByRole('button', { name: 'Send me a link' }).click());
    await page.goto(`${site}/link?t=${(await letter()).token}`);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.waitForURL('**/clients');
    return page;
};
const open = async (page, path) => (await page.goto(site + path)).status();
const statuses = async (page, paths) => { const list = []; for (const path of paths) list.push(await open(page, path)); return list; };
const seen = async page => Number((await page.locator('.count').textContent()).replaceAll(/\D/g, ''));
// A form that the page does not have, sent from the page: what somebody with a browser's tools would do.
const post = async (page, path, fields) => {
    const [response] = await Promise.all([
        page.waitForResponse(answer => answer.request().method() === 'POST'), page.waitForEvent('load'),
        page.evaluate(([to, list]) => {
            const form = Object.assign(document.createElement('form'), { method: 'post', action: to });
            for (const [name, value] of list) form.append(Object.assign(document.createElement('textarea'), { name, value }));
            document.body.append(form);
            form.submit();
        }, [path, Object.entries(fields).flatMap(([name, value]) => [].concat(value).map(v => [name, v]))])]);
    return response.status();
};
// Does what leads to another page, and waits for it.
const go = (page, action) => Promise.all([page.waitForEvent('load'), action]);
const shot = async (page, name, width = 1000, height = 660) => {
    if (!process.env.SHOTS) return;
    await page.setViewportSize({ width, height });
    await page.screenshot({ path: `${process.env.SHOTS}/${name}.png` });
    await page.setViewportSize({ width: 1200, height: 800 });
};
// Accessibility by axe-core, and the width of a small telephone.
const fits = async (page, path) => {
    const problems = [];
    for (const [width, colorScheme] of [[1200, 'light'], [360, 'light'], [1200, 'dark']]) {
        await page.setViewportSize({ width, height: 800 });
        await page.emulateMedia({ colorScheme });
        await page.goto(site + path);
        await page.evaluate(() => document.querySelectorAll('main details').forEach((d, i) => { d.open = i < 3; }));
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() => globalThis.axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
        problems.push(...violations.map(v => `${width} ${colorScheme}: ${v.id}: ${v.nodes[0].html.slice(0, 120)} ${v.nodes[0].failureSummary}`));
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        if (wide > 0) problems.push(`${width}: ${wide} pixels too wide`);
    }
    await page.setViewportSize({ width: 1200, height: 800 });
    await page.emulateMedia({ colorScheme: 'light' });
    return problems;
};

try {
    // ---- the owner: everything ----
    const stranger = await device();
    is(await statuses(stranger, ['/clients', `/clients/${want.aminas}`, '/team', '/log', '/posture', `/documents/${want.paper}`]), [401, 401, 401, 401, 401, 401], 'nobody signed in: nothing');
    is(await fits(stranger, '/sign-in'), [], 'the page to sign in is accessible and fits');
    await stranger.goto(`${site}/sign-in`);
    await stranger.getByLabel('E-mail address').fill('nobody@aldgate.example');
    await go(stranger, stranger.keyboard.press('Enter'));
    is(await stranger.locator('h1').textContent(), 'Look at your mail', 'an address that nobody has gets the same answer');
    is(await letter(), undefined, 'and no mail');

    const ifeoma = await signIn('ifeoma@aldgate.example');
    is(await seen(ifeoma), want.practice, 'the owner sees the whole practice');
    await shot(ifeoma, 'clients');
    const names = () => ifeoma.locator('tbody th small').allTextContents(), sorted = list => [...list].sort(new Intl.Collator('und').compare);
    const all = [...await names()];
    await ifeoma.getByRole('link', { name: 'Next' }).click();
    await ifeoma.waitForURL('**page=2**');
    all.push(...await names());
    is(all, sorted((await admin.query('SELECT latin_name FROM made')).rows.map(r => r.latin_name)).slice(0, 40), 'sorted by sealed names, page by page');
    await ifeoma.getByRole('link', { name: 'Born' }).click();
    await ifeoma.waitForURL('**sort=born**');
    is(await ifeoma.locator('tbody td:nth-of-type(1)').first().textContent(), (await one('SELECT min(birth_date)::text AS d FROM made')).d, 'and by sealed dates');
    for (const [what, q] of [['its passport, typed otherwise', person.passport_no.toLowerCase().replace(/(...)/, '$1 ')], ['its telephone', person.phone], ['its e-mail', person.email.toUpperCase()],
        ['its name as written', person.name], ['parts of its name', person.latin_name.toLowerCase().split(', ').reverse().map(part => part.slice(0, 4)).join(' ')]]) {
        await open(ifeoma, '/clients');
        await ifeoma.getByRole('searchbox').fill(q);
        await ifeoma.keyboard.press('Enter');
        await ifeoma.waitForURL('**q=**');
        is(await ifeoma.locator(`a[href="/clients/${want.aminas}"]`).count(), 1, `a client is found by ${what}`);
    }
    await ifeoma.locator(`a[href="/clients/${want.aminas}"]`).click();
    is(await ifeoma.locator('h1').textContent(), person.name, 'a client’s page');
    await shot(ifeoma, 'client');
    const [paper] = await Promise.all([ifeoma.context().waitForEvent('request', request => request.url().startsWith(bucket)), ifeoma.getByRole('link', { name: /^Open/ }).click()]);
    const fetched = await fetch(paper.url());
    is([fetched.status, fetched.headers.get('content-type'), (await fetched.text()).slice(0, 5)], [200, 'application/pdf', '%PDF-'], 'its document comes by a signed URL');
    is((await fetch(paper.url().replace(/Expires=\d+/, 'Expires=6000'))).status, 403, 'which is good for what was signed only');
    await open(ifeoma, `/clients/${want.aminas}`);
    await ifeoma.getByText('Change contact and status').click();
    await ifeoma.getByLabel('Phone').fill('+44 7700 900123');
    await go(ifeoma, ifeoma.getByRole('button', { name: 'Save' }).click());
    is(await ifeoma.getByText('+44 7700 900123').count(), 1, 'a change is saved');
    await ifeoma.getByText('Write one down').click();
    await ifeoma.getByLabel('Subject').fill('A call');
    await ifeoma.getByLabel('What was said').fill('Thank you');
    await ifeoma.getByRole('button', { name: 'Keep' }).click();
    await ifeoma.waitForURL('**#messages');
    is(await ifeoma.locator('#messages li').first().locator('b').textContent(), 'A call', 'a message is kept');

    const samuel = await member(104);
    await open(ifeoma, '/team');
    const card = ifeoma.locator(`#m-${samuel}`);
    await card.getByText('Change').click();
    await card.getByLabel('Nationality').check();
    await card.getByRole('button', { name: 'Save' }).click();
    await ifeoma.waitForURL('**/team#m-**');
    is((await card.textContent()).includes('In Asylum, Nationality.'), true, 'the owner gives a lead a second team');
    await ifeoma.getByLabel('Name', { exact: true }).fill('Nora New');
    await ifeoma.getByLabel('E-mail address').fill('nora@aldgate.example');
    await ifeoma.getByLabel('Role').selectOption('caseworker');
    await go(ifeoma, ifeoma.getByRole('button', { name: 'Add' }).click());
    is((await ifeoma.locator('li', { hasText: 'Nora New' }).textContent()).includes('Sees clients of their own.'), true, 'and adds somebody, by role');
    await shot(ifeoma, 'team');

    await admin.query('CALL immiiq.seal()');
    await open(ifeoma, '/log');
    const trees = (await seen(ifeoma)).toString(2).replaceAll('0', '').length;
    is([await ifeoma.locator('.hill').count() === trees, await ifeoma.locator('.lanes a').count() > 100, await ifeoma.locator('.heat .s1').count() > 0], [true, true, true], 'the log is drawn');
    is((await ifeoma.locator('section', { hasText: 'Documents given out' }).last().textContent()).includes('Ifeoma Okafor'), true, 'the document that went out is on record');
    await shot(ifeoma, 'log');
    const changed = (await one(`SELECT max(position) AS p FROM immiiq.audit_log WHERE table_name = 'clients' AND operation = 'update'`)).p;
    await open(ifeoma, `/log/${changed}`);
    is([await ifeoma.locator('.checks .ok').count(), await ifeoma.locator('.checks .fail').count()], [4, 0], 'the proof of an entry holds');
    is((await ifeoma.locator('tr.changed').textContent()).includes('+44 7700 900123'), true, 'and the entry says what changed');
    await shot(ifeoma, 'entry');
    await open(ifeoma, `/clients/${want.aminas}/access`);
    is((await ifeoma.locator('tbody tr', { hasText: 'certain' }).allTextContents()).some(text => text.includes('Ifeoma Okafor')), true, 'who has seen a client’s data');
    await open(ifeoma, '/posture');
    is(await ifeoma.locator('.promises .card').count(), (await one('SELECT count(*)::int AS n FROM immiiq.promise')).n, 'posture: every promise');
    await shot(ifeoma, 'posture');
    for (const path of ['/clients', '/clients?q=zzzzz', `/clients/${want.aminas}`, `/clients/${want.aminas}/access`, '/team', '/log', `/log/${changed}`, '/posture', '/nowhere']) is(await fits(ifeoma, path), [], `${path.replace(/[0-9a-f-]{36}|\d+/, '…')} is accessible and fits`);
    await open(ifeoma, '/clients');
    await ifeoma.keyboard.press('Tab');
    is(await ifeoma.evaluate(() => [document.activeElement.textContent, document.activeElement.getBoundingClientRect().left >= 0]), ['Skip to the page', true], 'the first key goes to a link that skips the navigation, and shows it');
    await ifeoma.locator('.me summary').focus();
    await ifeoma.keyboard.press('Enter');
    is(await ifeoma.getByRole('button', { name: 'Sign out', exact: true }).isVisible(), true, 'the account opens by key');

    // ---- two teams, one team, own clients: the same pages ----
    const two = await signIn('samuel@aldgate.example'), team = await signIn('leila@aldgate.example'), amina = await signIn('amina@aldgate.example');
    is(await seen(two), want.two, 'a lead of two teams sees both teams’ clients');
    is(await seen(team) < want.practice && await seen(team) > 0, true, 'a lead of one team sees fewer');
    is(await seen(amina), want.own, 'a caseworker sees her own');
    const paths = [`/clients/${want.aminas}`, `/clients/${want.familys}`, `/clients/${want.fourths}`, `/documents/${want.paper}`, `/clients/${want.aminas}/access`, `/log/${changed}`, '/log', '/team', '/posture'];
    const papers = paths.filter(path => !path.startsWith('/documents'));
    is(await statuses(ifeoma, papers), [200, 200, 200, 200, 200, 200, 200, 200], 'the owner opens every page');
    is(await statuses(two, papers), [200, 404, 200, 403, 404, 200, 200, 200], 'a lead of two teams those of his clients');
    is(await statuses(team, paths), [404, 200, 404, 403, 404, 404, 200, 200, 200], 'a lead of one team those of hers');
    is(await statuses(amina, papers), [200, 404, 404, 403, 404, 200, 200, 200], 'a caseworker those of her own');
    for (const [page, name] of [[two, 'a lead'], [amina, 'a caseworker']]) {
        await open(page, '/log');
        is([await page.locator('svg.lanes').count(), await page.locator('main tbody tr').count()], [0, 0], `${name} reads nothing of the log`);
        await open(page, '/posture');
        is(await page.locator('.promises').count(), 0, `${name} reads nothing of posture`);
        await open(page, '/team');
        is([403, 404].includes(await post(page, `/team/${await member(110)}`, { seen: 'all', module: ['clients', 'reports'], active: '1' })), true, `${name} makes nobody greater`);
        await open(page, '/team');
        is(await post(page, '/team', { name: 'Mine', email: 'mine@aldgate.example', role: await generatorIdOfRole('owner') }), 403, `${name} adds nobody`);
    }
    is((await one(`SELECT scope FROM immiiq.member WHERE email = 'amina@aldgate.example'`)).scope, 'assigned', 'and nobody has become greater');
    await open(amina, `/clients/${want.aminas}`);
    is(await post(amina, `/clients/${want.familys}`, { phone: '1', email: 'x@example.org', status: 'closed' }), 404, 'a caseworker changes no other’s client');
    await open(amina, `/clients/${want.aminas}`);
    is(await post(amina, `/clients/${want.familys}/messages`, { channel: 'phone', subject: 'x', body: 'x' }), 403, 'nor writes to its file');
    await open(amina, '/clients');
    await shot(amina, 'small', 360, 660);
    await open(ifeoma, '/log');
    is((await ifeoma.locator('section', { hasText: 'What was refused' }).last().textContent()).includes('Amina Warsame'), true, 'what was refused is on the owner’s page');

    // ---- another practice, with every id of the first ----
    const katrin = await signIn('katrin@nordlicht.example');
    is(await statuses(katrin, [`/clients/${want.aminas}`, `/clients/${want.aminas}/access`, `/documents/${want.paper}`]), [404, 404, 403], 'another practice’s ids lead nowhere');
    await open(katrin, '/clients');
    is(await post(katrin, `/clients/${want.aminas}`, { phone: '0', email: 'x@example.org', status: 'closed' }), 404, 'another practice’s client is not changed');
    await open(katrin, '/clients');
    is([403, 400].includes(await post(katrin, `/clients/${want.aminas}/messages`, { channel: 'phone', subject: 'x', body: 'x' })), true, 'nor written to');
    await open(katrin, '/team');
    is(await post(katrin, `/team/${await member(110)}`, { seen: 'all', module: 'clients', active: '1' }), 404, 'nor is its member');
    await open(katrin, '/team');
    is([403, 400].includes(await post(katrin, `/team/${await member(202)}`, { seen: 'team', module: 'clients', active: '1', team: await generatorId('team', 13) })), true, 'nor does a member of one join a team of the other');
    await open(katrin, `/clients?q=${encodeURIComponent(person.name)}`);
    is(await katrin.locator(`a[href="/clients/${want.aminas}"]`).count(), 0, 'nor is its client found');

    // ---- SQL, and what is no value ----
    for (const q of [`' OR 1=1 --`, `'; DROP TABLE clients; --`, `x') UNION SELECT * FROM immiiq.member --`, '%%%', '___', '\\', '$1', `${'x'.repeat(3000)}`, '2020-13-45'])
        is([await open(ifeoma, `/clients?q=${encodeURIComponent(q)}`), await seen(ifeoma)], [200, 0], `a search finds nobody: ${q.slice(0, 40)}`);
    is(await statuses(ifeoma, ['/clients?q=%00', '/clients?q=%ff%fe', '/clients?q=,', '/clients?q=a,+b', '/clients?sort=latin_name;select', '/clients?sort=__proto__', '/clients?sort=constructor&way=up;drop', '/clients?page=-1', '/clients?page=1e9', '/clients?page=99999999999999999999',
        '/log?before=1;drop', '/log/999999999999999', '/log/0', '/clients/1', `/clients/${want.aminas}'`, '/documents/00000000-0000-0000-0000-000000000000', '/../../etc/passwd', '/%2e%2e/server.mjs', '/server.mjs', '/link', '/link?t=x']),
    [400, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 404, 404, 404, 404, 403, 404, 404, 404, 403, 403], 'what is no value');
    is((await one('SELECT count(*)::int AS n FROM clients')).n, 3 * number, 'and nothing is gone');
    await open(ifeoma, `/clients/${want.aminas}`);
    is(await post(ifeoma, `/clients/${want.aminas}`, { phone: 'x', email: 'y@example.org', status: 'deleted' }), 400, 'a status that there is not');
    await open(ifeoma, `/clients/${want.aminas}`);
    is(await post(ifeoma, `/clients/${want.aminas}/messages`, { channel: 'phone', subject: 'x', body: 'x'.repeat(70000) }), 413, 'a form that is too long');

    // ---- markup in names ----
    const nasty = `<img src=x onerror=alert(1)>"'><script>alert(2)</script>`;
    await open(ifeoma, `/clients/${want.aminas}`);
    is(await post(ifeoma, `/clients/${want.aminas}/messages`, { channel: 'phone', subject: nasty, body: nasty }), 303, 'a message with markup');
    await open(ifeoma, `/clients/${want.aminas}`);
    is(await post(ifeoma, `/clients/${want.aminas}`, { phone: nasty, email: nasty, status: 'open' }), 303, 'a telephone with markup');
    await open(ifeoma, '/team');
    is(await post(ifeoma, '/team', { name: nasty, email: 'n<i>@aldgate.example', role: await generatorIdOfRole('reception') }), 303, 'a member with markup');
    await admin.query('CALL immiiq.seal()');
    for (const path of [`/clients/${want.aminas}`, '/team', `/clients?q=${encodeURIComponent(nasty)}`, '/log', `/log/${(await one(`SELECT max(position) AS p FROM immiiq.audit_log WHERE table_name = 'clients'`)).p}`]) {
        await open(ifeoma, path);
        is(await ifeoma.evaluate(() => document.querySelectorAll('img, script, iframe, [onerror], i + i').length), 0, `is text on ${path.slice(0, 8)}`);
    }
    is(await ifeoma.addScriptTag({ content: 'window.ran = 1' }).then(() => ifeoma.evaluate(() => window.ran ?? 0), () => 0), 0, 'a script that got in would not run');
    is(noise.splice(0).filter(text => !/script-src|default-src/.test(text)), [], 'no script has run and no policy was broken until then');

    // ---- other sites ----
    const evil = createServer((request, response) => response.writeHead(200, { 'Content-Type': 'text/html' }).end(request.url === '/frame' ? `<iframe src="${site}/clients"></iframe>`
        : `<form method="post" action="${site}/clients/${want.aminas}"><input name="status" value="closed"><button>win</button></form><a href="${site}/documents/${want.paper}">paper</a>`));
    const port = await listen(evil);
    for (const [host, what] of [['127.0.0.1', 'another site'], ['localhost', 'another port of the same host, to which cookies go']]) {
        await ifeoma.goto(`http://${host}:${port}/`);
        const [response] = await Promise.all([ifeoma.waitForResponse(r => r.url().startsWith(site)), ifeoma.getByRole('button').click()]);
        is(response.status(), 403, `a form of ${what} is refused`);
    }
    await ifeoma.goto(`http://127.0.0.1:${port}/`);
    const [response] = await Promise.all([ifeoma.waitForResponse(r => r.url().startsWith(site)), ifeoma.getByRole('link').click()]);
    is(response.status(), 401, 'a link of another site brings no cookie');
    await ifeoma.goto(`http://127.0.0.1:${port}/frame`);
    await ifeoma.waitForLoadState('networkidle');
    is(await ifeoma.frames()[1].locator('main').count(), 0, 'no other site frames the portal');
    is(noise.splice(0).map(text => /frame-ancestors/.test(text)), [true], 'as the policy says');
    evil.close();
    is((await one('SELECT status FROM clients WHERE client_id = $1', [want.aminas])).status, 'open', 'and nothing was changed');

    // ---- headers, cookies, sessions ----
    const must = { 'content-security-policy': /^default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'$/, 'strict-transport-security': /^max-age=\d{8}; includeSubDomains$/,
        'x-frame-options': /^DENY$/, 'x-content-type-options': /^nosniff$/, 'referrer-policy': /^no-referrer$/, 'permissions-policy': /camera=\(\).*geolocation=\(\).*microphone=\(\)/, 'cross-origin-opener-policy': /^same-origin$/, 'cross-origin-resource-policy': /^same-origin$/ };
    const cookies = (await ifeoma.context().cookies()).filter(c => c.name.startsWith('__Host-'));
    is(cookies.map(c => [c.name, c.httpOnly, c.secure, c.sameSite, c.path]).sort(), [['__Host-device', true, true, 'Strict', '/'], ['__Host-session', true, true, 'Strict', '/']], 'cookies are for this host and for no script');
    const session = cookies.find(c => c.name === '__Host-session').value, as = { Cookie: `__Host-session=${session}` };
    for (const [path, status, options] of [['/clients', 200, { headers: as }], ['/clients', 401, {}], ['/sign-in', 200, {}], ['/nowhere', 404, {}], ['/style.css', 200, {}], ['/', 303, {}], [`/documents/${want.familys}`, 403, { headers: as }],
        [`/clients/${want.aminas}`, 403, { method: 'POST', headers: as, body: 'status=closed' }], ['/clients', 404, { method: 'DELETE', headers: as }], ['/clients?q=%00', 400, { headers: as }],
        ['/clients', 200, { method: 'HEAD', headers: as }], ['/clients', 401, { method: 'HEAD' }], ['/style.css', 200, { method: 'HEAD' }], ['/nowhere', 404, { method: 'HEAD' }]]) {
        const answer = await fetch(site + path, { redirect: 'manual', ...options });
        is([answer.status, Object.entries(must).filter(([name, value]) => !value.test(answer.headers.get(name))), answer.headers.get('x-powered-by')], [status, [], null], `headers of ${options.method ?? 'GET'} ${path.replace(/[0-9a-f-]{36}/, '…')}, ${status}`);
        if (path !== '/style.css' && answer.headers.get('cache-control') !== 'no-store') is(answer.headers.get('cache-control'), 'no-store', `${path} is not cached`);
        if (options.method === 'HEAD') is([(await answer.text()), answer.headers.get('content-type')?.slice(0, 8)], ['', path === '/style.css' ? 'text/css' : 'text/htm'], `HEAD ${path} says what GET would, without it`);
        else if (!options.headers) is(/iq_s_/.test(await answer.text()), false, `no token in ${path}`);
    }
    const thief = await device();
    await thief.context().addCookies([{ name: '__Host-session', value: session, url: site.replace('http:', 'https:'), secure: true, httpOnly: true, sameSite: 'Strict' }]);
    is(await open(thief, '/clients'), 200, 'a stolen cookie works …');
    await open(ifeoma, '/clients');
    await ifeoma.locator('.me summary').click();
    await ifeoma.getByRole('button', { name: 'Sign out', exact: true }).click();
    await ifeoma.waitForURL('**/sign-in');
    is([await open(thief, '/clients'), (await thief.context().cookies()).some(c => c.name === '__Host-session')], [401, false], '… until its owner signs out');
    await ifeoma.goBack();
    is(await ifeoma.locator('h1').textContent(), 'Sign in', 'and going back shows nothing');
    is(await ifeoma.evaluate(() => document.cookie), '', 'no script reads a cookie');
    is(await open(thief, '/link?t=iq_l_0000000000000000000000000000000000000000000000000'), 403, 'a link that nobody issued');
    const other = await device();
    await other.goto(`${site}/sign-in`);
    await other.getByLabel('E-mail address').fill('ifeoma@aldgate.example');
    await go(other, other.keyboard.press('Enter'));
    const { token } = await letter();
    await thief.goto(`${site}/link?t=${token}`);
    await go(thief, thief.getByRole('button', { name: 'Sign in' }).click());
    is(await thief.locator('h1').textContent(), 'That did not work', 'a link does not work in another browser');
    is(noise, [], 'no script has run, no policy was broken');
} catch (error) {
    failed++;
    console.log(`not ok ${++count} - ${String(error.stack).replaceAll('\n', '\n# ')}`);
} finally {
    await browser.close();
    for (const s of [server, outside.server]) { s.close(); s.closeAllConnections(); }
    await Promise.all([close(), outside.close(), admin.end()]);
}
async function generatorIdOfRole(name) {
    return (await one(`SELECT role_template_id AS id FROM immiiq.role_template r JOIN practice p USING (org_id) WHERE p.number = 1 AND r.name = $1`, [name])).id;
}
console.log(`1..${count}`);
process.exit(failed ? 1 : 0);
