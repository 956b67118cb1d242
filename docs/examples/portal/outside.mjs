// What a practice has elsewhere, played on this machine so that the portal can be tried: a mail server and a bucket. No part of the portal.
import { createServer } from 'node:http';
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import pg from 'pg';
import { html } from './html.mjs';

const { PORT: port = 8080, BUCKET_SECRET: secret } = process.env, outside = Number(port) + 1;
const letters = [];

// The mailer: a role that sees the outbox, and nothing else. What it takes is what it would send.
const mailer = new pg.Pool({ user: 'practice_mailer', max: 1 });
export async function deliver() {
    const { rows } = await mailer.query('SELECT * FROM immiiq.take_outbox(100)');
    for (const letter of rows) letters.unshift({ ...letter, at: new Date() });
    letters.length = Math.min(letters.length, 50);
    return rows;
}
export const latest = () => letters[0];

const people = ['ifeoma@aldgate.example: owner, sees the whole practice', 'leila@aldgate.example: leads a team, sees its clients', 'amina@aldgate.example: caseworker, sees her own clients',
    'margaret@aldgate.example: accountant, invoices only', 'katrin@nordlicht.example: owner of another practice'];
const mailbox = () => html`<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta http-equiv="refresh" content="3"><title>Mailbox</title>
<link rel="stylesheet" href="/style.css"></head><body><main><h1>Everybody’s mailbox</h1><p class="lead">On a real server this is a mail server. Ask for a link on <a href="http://localhost:${port}/">the portal</a> as one of these:</p>
<ul>${people.map(p => html`<li>${p}</li>`)}</ul>
${letters.length ? letters.map(l => html`<section class="card"><h2>To ${l.email}</h2><p>Sign in to ${l.org_name}: <a class="button" href="http://localhost:${port}/link?t=${l.token}">Open the link</a> or type <b>${l.code}</b></p><small>${l.at.toISOString().slice(11, 19)}</small></section>`)
        : html`<p class="none">No mail yet. This page looks again every three seconds.</p>`}</main></body></html>`.text;

// A bucket that serves whoever comes with a signed URL (AWS Signature Version 4, query string), whatever is asked for: a page of PDF that says so.
const hmac = (key, text) => createHmac('sha256', key).update(text).digest();
const encoded = text => encodeURIComponent(text).replace(/[!'()*]/g, c => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
function signed(request, url) {
    const query = url.searchParams, [, day, region, service] = (query.get('X-Amz-Credential') ?? '').split('/'), time = query.get('X-Amz-Date') ?? '';
    const began = Date.parse(time.replace(/^(....)(..)(..T..)(..)(..)Z$/, '$1-$2-$3:$4:$5Z'));
    if (!(Date.now() < began + 1000 * query.get('X-Amz-Expires')) || Date.now() < began - 60000) return false;
    const names = (query.get('X-Amz-SignedHeaders') ?? '').split(';');
    const canonical = [request.method, url.pathname,
        [...query].filter(([name]) => name !== 'X-Amz-Signature').map(([name, value]) => `${encoded(name)}=${encoded(value)}`).sort().join('&'),
        ...names.map(name => `${name}:${(request.headers[name] ?? '').trim()}`), '', names.join(';'), 'UNSIGNED-PAYLOAD'].join('\n');
    const text = ['AWS4-HMAC-SHA256', time, `${day}/${region}/${service}/aws4_request`, createHash('sha256').update(canonical).digest('hex')].join('\n');
    const key = ['aws4_request'].reduce(hmac, [day, region, service].reduce(hmac, `AWS4${secret}`));
    const [have, want] = [Buffer.from(query.get('X-Amz-Signature') ?? ''), Buffer.from(hmac(key, text).toString('hex'))];
    return have.length === want.length && timingSafeEqual(have, want);
}
function pdf(lines) {
    const stream = `BT /F 13 Tf 60 760 Td 20 TL ${lines.map(l => `(${l.replace(/[()\\]/g, '\\$&')}) '`).join(' ')} ET`;
    const objects = ['<</Type/Catalog/Pages 2 0 R>>', '<</Type/Pages/Kids[3 0 R]/Count 1>>', '<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>',
        `<</Length ${stream.length}>>stream\n${stream}\nendstream`, '<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>'];
    let file = '%PDF-1.4\n';
    const places = objects.map((object, i) => { const place = file.length; file += `${i + 1} 0 obj${object}endobj\n`; return place; });
    return `${file}xref\n0 6\n0000000000 65535 f \n${places.map(p => `${String(p).padStart(10, '0')} 00000 n \n`).join('')}trailer<</Size 6/Root 1 0 R>>\nstartxref\n${file.length}\n%%EOF`;
}

export const server = createServer(async (request, response) => {
    const url = new URL(request.url, `http://${request.headers.host}`);
    if (url.pathname === '/') return response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' }).end(mailbox());
    if (url.pathname === '/style.css') return response.writeHead(200, { 'Content-Type': 'text/css' }).end(readFileSync(new URL('style.css', import.meta.url)));
    if (!signed(request, url)) return response.writeHead(403).end('no URL that was signed for this, or not any more\n');
    const [type, name] = [url.searchParams.get('response-content-type'), url.searchParams.get('response-content-disposition')];
    response.writeHead(200, { 'Content-Type': type ?? 'application/octet-stream', ...name && { 'Content-Disposition': name }, 'X-Content-Type-Options': 'nosniff' });
    response.end(pdf(['A paper of this practice, from its bucket.', `Object ${url.pathname.slice(1)}`, `By a URL that was good for ${url.searchParams.get('X-Amz-Expires')} seconds.`]));
});
export const close = () => mailer.end();

if (process.argv[1] === import.meta.filename) {
    server.listen(outside, '127.0.0.1');
    setInterval(async () => { for (const l of await deliver().catch(() => [])) console.log(`  mail to ${l.email}: http://localhost:${port}/link?t=${l.token}   or the code ${l.code}`); }, 500);
}
