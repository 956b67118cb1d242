// Templates: what the pages look like. Values are escaped by html`…`; nothing here is a script, nothing asks who may see it.
import { html } from './html.mjs';
import { heat, ladder, lanes, peaks, ring } from './drawings.mjs';

const modules = ['clients', 'cases', 'communications', 'ai', 'documents', 'invoices', 'reports', 'billing', 'settings', 'team_management'];
const scopes = { all: 'the whole practice', team: 'clients of their teams', assigned: 'clients of their own' };
const number = n => Number(n).toLocaleString('en-GB');
const day = date => html`<time datetime="${date}">${date}</time>`;
const times = n => Number(n) === 1 ? 'once' : `${number(n)} times`;
const moment = date => html`<time datetime="${date.toISOString()}">${date.toISOString().slice(0, 16).replace('T', ' ')}</time>`;
const initials = name => String(name ?? '·').split(/\s+/).map(part => [...part][0]).slice(0, 2).join('');
const pill = status => html`<span class="pill ${status}">${status}</span>`;
const none = text => html`<p class="none">${text}</p>`;
const who = row => row.name ?? (row.actor === 'database' ? 'the database' : row.actor) ?? 'nobody signed in';
const mail = address => address && String(address).split('@').map((part, i) => html`${i > 0 && html`<wbr>@`}${part}`);

export const whole = ({ title, body, me, path }) => `<!doctype html>\n${html`<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<title>${title} · ${me?.practice ?? 'Portal'}</title><link rel="icon" href="/icon.svg"><link rel="stylesheet" href="/style.css"></head>
<body>
<a class="skip" href="#main">Skip to the page</a>
<header><div class="bar">
<a class="brand" href="/"><svg viewBox="0 0 32 32" width="28" height="28" aria-hidden="true"><path class="mark" d="M16 2 28 7v9c0 7-5 12-12 14C9 28 4 23 4 16V7z"/>
<path class="key" d="M16 10a4 4 0 0 1 1.5 7.7V23h-3v-5.300A4 4 0 0 1 16 10z"/></svg><span>${me?.practice ?? 'Practice portal'}</span></a>
${me && html`<nav aria-label="Pages">${Object.entries({ '/clients': 'Clients', '/team': 'Team', '/log': 'Log', '/posture': 'Posture' }).map(([to, name]) =>
        html`<a href="${to}"${path.startsWith(to) && html` aria-current="page"`}>${name}</a>`)}</nav>
<details class="me"><summary><span class="face" aria-hidden="true">${initials(me.name)}</span><span class="visually-hidden">Account of </span><span class="name">${me.name}</span></summary>
<div><p><b>${me.name}</b><br>sees ${scopes[me.scope]}</p><form method="post" action="/sign-out"><button>Sign out</button><button name="everywhere" value="1" class="quiet">Sign out everywhere</button></form></div></details>`}
</div></header>
<main id="main" tabindex="-1">${body}</main>
<footer><p>One token for each transaction, plain SQL. What you see here is what PostgreSQL gave you.</p></footer>
</body></html>`.text}`;
export const frame = (page, me, path) => ({ ...page, me, path });

// ---- signing in ----

const narrow = (title, body) => ({ title, body: html`<section class="card narrow"><h1>${title}</h1>${body}</section>` });
export const signIn = ended => narrow(ended ? 'You are signed out' : 'Sign in', html`<p>${ended ? 'Your session has ended, here or elsewhere.' : 'We send you a link. No password is needed.'}</p>
<form method="post" action="/sign-in"><label for="email">E-mail address</label><input id="email" name="email" type="email" autocomplete="email" required><button class="wide">Send me a link</button></form>`);
export const lookAtMail = email => narrow('Look at your mail', html`<p>If <b>${email}</b> is known here, a link is on its way. It works for ten minutes, once, in this browser.</p>
<form method="post" action="/code"><input type="hidden" name="email" value="${email}"><label for="code">Or type the six digits from the mail</label>
<input id="code" name="code" inputmode="numeric" autocomplete="one-time-code" pattern="[0-9]{6}" required class="digits"><button class="wide">Sign in</button></form>`);
export const useLink = token => narrow('One more click', html`<p>This button signs you in, in the browser that asked for the link.</p>
<form method="post" action="/link"><input type="hidden" name="t" value="${token}"><button class="wide">Sign in</button></form>`);
export const refusedSignIn = throttled => narrow(throttled ? 'Try again later' : 'That did not work', html`<p>${throttled ? 'There were too many attempts.'
    : 'Links and codes work once, for ten minutes; a link only in the browser that asked for it.'}</p><p><a class="button" href="/sign-in">Ask for another link</a></p>`);
const failures = { 400: ['Not accepted', 'The database did not accept what was entered.'], 403: ['Not yours to do', 'The database refused this, and has it on record.'],
    404: ['Nothing here', 'There is nothing here, or nothing that you can see.'], 413: ['Too long', 'That was more than this form takes.'], 500: ['Something broke', 'That is not your fault. Please try again.'] };
export const failed = (status, text) => narrow(failures[status][0], html`<p>${text ?? failures[status][1]}</p><p><a class="button" href="/clients">To the clients</a></p>`);

// ---- clients ----

export const clients = ({ list, q, sort, way, number: page, size }) => {
    const total = Number(list[0]?.total ?? 0), last = Math.ceil(total / size);
    const to = change => `/clients?${new URLSearchParams({ q, sort, way, page, ...change })}`;
    const head = (key, name) => html`<th scope="col"${sort === key && html` aria-sort="${way === 'up' ? 'ascending' : 'descending'}"`}>
<a href="${to({ sort: key, way: sort === key && way === 'up' ? 'down' : 'up', page: 1 })}">${name}<span aria-hidden="true">${sort === key ? (way === 'up' ? ' ↑' : ' ↓') : ''}</span></a></th>`;
    return { title: 'Clients', body: html`<div class="top"><h1>Clients</h1><p class="count">${total ? `${number(total)} ${q ? 'found' : 'that you can see'}` : ''}</p></div>
<form class="search" role="search" action="/clients"><label for="q" class="visually-hidden">Search clients</label>
<input id="q" name="q" type="search" value="${q}" placeholder="Part of a name, passport, phone, e-mail, birth date" autocomplete="off"><input type="hidden" name="sort" value="${sort}"><input type="hidden" name="way" value="${way}"><button>Search</button></form>
${list.length ? html`<div class="card flush"><table class="list"><caption class="visually-hidden">Clients, page ${page} of ${last}</caption><thead><tr>${head('name', 'Name')}${head('born', 'Born')}<th scope="col">Nationality</th><th scope="col">Status</th>${head('since', 'Client since')}</tr></thead>
<tbody>${list.map(c => html`<tr><th scope="row"><a class="cover" href="/clients/${c.client_id}"><bdi>${c.name}</bdi></a><small>${c.latin_name}</small></th>
<td data-label="Born">${day(c.birth_date)}</td><td data-label="Nationality">${c.nationality}</td><td data-label="Status">${pill(c.status)}</td><td data-label="Client since">${day(c.since)}</td></tr>`)}</tbody></table></div>
<nav class="pages" aria-label="Pages of the list">${page > 1 && html`<a class="button quiet" rel="prev" href="${to({ page: page - 1 })}">← Before</a>`}<span>Page ${number(page)} of ${number(last)}</span>${page < last && html`<a class="button quiet" rel="next" href="${to({ page: page + 1 })}">Next →</a>`}</nav>`
        : none(q ? 'No client that you can see matches.' : 'There are no clients that you can see.')}` };
};

const fact = (name, value) => value && html`<div><dt>${name}</dt><dd>${value}</dd></div>`;
const input = (name, label, value, type = 'text', more) => html`<p><label for="${name}">${label}</label><input id="${name}" name="${name}" type="${type}" value="${value}"${more}></p>`;
export const client = ({ client: c, cases, documents, messages, invoices, history }) => ({ title: c.latin_name, body: html`
<p class="path"><a href="/clients">Clients</a></p>
<div class="top"><div><h1><bdi>${c.name}</bdi></h1><p class="sub">${c.latin_name}</p></div>${pill(c.status)}</div>
<div class="columns"><div>
<section class="card"><h2>Person</h2><dl>${fact('Born', day(c.birth_date))}${fact('Nationality', c.nationality)}${fact('Passport', html`<code>${c.passport_no}</code>`)}${fact('Phone', c.phone)}${fact('E-mail', mail(c.email))}${fact('Family', c.family)}${fact('Client since', day(c.since))}</dl>
<details class="edit"><summary>Change contact and status</summary><form method="post" action="/clients/${c.client_id}">${input('phone', 'Phone', c.phone, 'tel')}${input('email', 'E-mail', c.email, 'email')}
<p><label for="status">Status</label><select id="status" name="status">${['open', 'closed'].map(s => html`<option${s === c.status && html` selected`}>${s}</option>`)}</select></p><button>Save</button></form></details></section>
<section class="card"><h2>Cases</h2>${cases.length ? html`<ul class="rows">${cases.map(k => html`<li><b>${k.kind}</b> <span class="pill plain">${k.stage}</span><small>${k.reference} · opened ${day(k.opened_on)}${k.team && ` · ${k.team}`}${k.handler && ` · ${k.handler}`}</small><p>${k.note}</p></li>`)}</ul>` : none('None that you can see.')}</section>
<section class="card" id="messages"><h2>Messages</h2>${messages.length ? html`<ul class="rows">${messages.map(m => html`<li><b>${m.subject}</b> <span class="pill plain">${m.channel}</span><small>${moment(m.at)}</small><p>${m.body}</p></li>`)}</ul>` : none('None that you can see.')}
<details class="edit"><summary>Write one down</summary><form method="post" action="/clients/${c.client_id}/messages"><p><label for="channel">By</label><select id="channel" name="channel">${['phone', 'e-mail', 'letter', 'meeting'].map(s => html`<option>${s}</option>`)}</select></p>
${input('subject', 'Subject', '', 'text', html` required`)}<p><label for="body">What was said</label><textarea id="body" name="body" rows="4" required></textarea></p><button>Keep</button></form></details></section>
</div><div>
<section class="card"><h2>Documents</h2>${documents.length ? html`<ul class="rows">${documents.map(d => html`<li><b>${d.title}</b><small>${d.number}${d.expires_on && html` · until ${day(d.expires_on)}`}</small>
${d.filename ? html`<a class="button quiet" href="/documents/${d.document_id}" target="_blank" rel="noopener">Open<span class="visually-hidden"> ${d.filename} in a new tab</span></a>` : html`<small>on paper only</small>`}</li>`)}</ul>` : none('None that you can see.')}</section>
<section class="card"><h2>Invoices</h2>${invoices.length ? html`<ul class="rows">${invoices.map(i => html`<li><b>${i.number}</b> <span class="pill ${i.paid ? 'ok' : 'warning'}">${i.paid ? 'paid' : 'due'}</span><span class="amount">${i.amount}</span><small>${day(i.issued_on)}</small></li>`)}</ul>` : none('None that you can see.')}</section>
<section class="card"><h2>History</h2>${history.length ? html`<ol class="rows thin">${history.map(h => html`<li><a href="/log/${h.position}">${h.operation} in ${h.table_name}</a><small>${who(h)} · ${moment(h.at)}</small></li>`)}</ol>` : none('The log of this client is not open to you.')}
<p><a class="button quiet" href="/clients/${c.client_id}/access">Who has seen this client’s data?</a></p></section>
</div></div>` });

export const access = ({ client: c, list }) => ({ title: 'Who has seen it', body: html`<p class="path"><a href="/clients">Clients</a> <a href="/clients/${c.client_id}"><bdi>${c.name}</bdi></a></p>
<h1>Who has seen this client’s data</h1><p class="lead">“Certain” is on record for this client. “Possible” means: values of that column were opened in one transaction, this client’s perhaps among them.</p>
<div class="card flush"><table class="list"><caption class="visually-hidden">Accesses by person, the certain ones first</caption><thead><tr><th scope="col">Who</th><th scope="col">Last</th><th scope="col">What</th><th scope="col">How sure</th></tr></thead>
<tbody>${list.map(a => html`<tr><th scope="row"><b>${who(a)}</b></th><td data-label="Last">${moment(a.at)}</td><td data-label="What">${a.source} ${a.action}, ${times(a.times)}<small>${a.objects?.replaceAll('public.', '')}</small></td><td data-label="How sure"><span class="pill ${a.certainty === 'certain' ? 'ok' : 'plain'}">${a.certainty}</span></td></tr>`)}</tbody></table></div>` });

// ---- the team ----

const box = (name, value, label, on) => html`<label class="box"><input type="checkbox" name="${name}" value="${value}"${on && html` checked`}> ${label}</label>`;
export const team = ({ members, teams, templates }) => ({ title: 'Team', body: html`<div class="top"><h1>Team</h1><p class="count">${members.filter(m => m.active).length} members</p></div>
<p class="lead">Who may change what here is the database’s affair, too: nobody gives more than they have.</p>
<ul class="people">${members.map(m => html`<li class="card${!m.active && ' gone'}" id="m-${m.member_id}"><div class="person"><span class="face" aria-hidden="true">${initials(m.name)}</span><div><h2>${m.name}</h2><small>${mail(m.email)}</small></div>
<span class="pill plain">${m.active ? m.scope : 'not active'}</span></div><p>Sees ${scopes[m.scope]}.${m.teams.length > 0 && html` In ${m.teams.map(t => teams.find(x => x.team_id === t)?.name).join(', ')}.`}</p>
<small>${m.role && html`<b>${m.role}</b>: `}${m.modules.map(x => x.replace('_', ' ')).join(' · ')}</small>
<details class="edit"><summary>Change<span class="visually-hidden"> ${m.name}</span></summary><form method="post" action="/team/${m.member_id}">
<fieldset><legend>Sees</legend>${Object.entries(scopes).map(([s, label]) => html`<label class="box"><input type="radio" name="seen" value="${s}"${s === m.scope && html` checked`}> ${label}</label>`)}</fieldset>
<fieldset><legend>Teams</legend>${teams.map(t => box('team', t.team_id, t.name, m.teams.includes(t.team_id)))}</fieldset>
<fieldset><legend>Modules</legend>${modules.map(x => box('module', x, x.replace('_', ' '), m.modules.includes(x)))}</fieldset>
${box('active', 1, 'may sign in', m.active)}<p><button>Save</button></p></form></details></li>`)}</ul>
<section class="card narrow left"><h2>Somebody new</h2><form method="post" action="/team">${input('name', 'Name', '', 'text', html` required`)}${input('email', 'E-mail address', '', 'email', html` required`)}
<p><label for="role">Role</label><select id="role" name="role">${templates.map(r => html`<option value="${r.role_template_id}">${r.name}</option>`)}</select></p><button>Add</button></form></section>` });

// ---- the log ----

export const log = ({ head, waiting, recent, opened, papers, denials }) => ({ title: 'Log', body: html`<div class="top"><h1>Log</h1>${head && html`<p class="count">${number(head.entries)} entries under one signature</p>`}</div>
${head ? html`<section class="card"><h2>State</h2>${peaks(head, Number(waiting))}</section>
<section class="card"><h2>Who did what</h2>${lanes(recent.map(r => ({ ...r, who: who(r) })))}
<details class="edit"><summary>The same as a table</summary><table class="list"><thead><tr><th scope="col">Entry</th><th scope="col">When</th><th scope="col">Who</th><th scope="col">What</th></tr></thead><tbody>${recent.slice(0, 40).map(r =>
        html`<tr><th scope="row"><a href="/log/${r.position}">${number(r.position)}</a></th><td data-label="When">${moment(r.at)}</td><td data-label="Who">${who(r)}</td><td data-label="What">${r.operation} ${r.table_name}</td></tr>`)}</tbody></table></details>
${recent.length === 160 && html`<nav class="pages" aria-label="Earlier entries"><a class="button quiet" href="/log?before=${recent.at(-1).position}">← Earlier</a></nav>`}</section>
<section class="card"><h2>Who opened which fields, today</h2>${opened.length ? heat(opened.map(o => ({ ...o, who: who(o) }))) : none('Nobody has opened a sealed value today.')}</section>
<div class="columns"><section class="card"><h2>Documents given out</h2>${papers.length ? html`<ul class="rows thin">${papers.map(p => html`<li>${p.action} ${p.client_id ? html`<a href="/clients/${p.client_id}">of a client</a>` : ''}<small>${who(p)} · ${moment(p.at)} · ${p.client_ip}</small></li>`)}</ul>` : none('None yet.')}</section>
<section class="card"><h2>What was refused</h2>${denials.length ? html`<ul class="rows thin">${denials.map(d => html`<li><code>${d.sqlstate}</code> ${d.action} ${d.object}<small>${who(d)} · ${moment(d.at)}${d.client_ip && ` · ${d.client_ip}`}</small></li>`)}</ul>` : none('Nothing yet.')}</section></div>`
        : none('The log is open to members who see the whole practice and have the module reports. Nothing of it is shown to you.')}` });

const shown = value => value === undefined || value === null ? html`<i>empty</i>` : typeof value === 'object' ? JSON.stringify(value) : String(value);
export const entry = ({ entry: e, proof, key, checks, ...rest }) => {
    const row = e.new_row ?? e.old_row ?? {}, was = Object.fromEntries(Object.entries(e.operation === 'update' ? e.old_row ?? {} : {}).filter(([k, v]) => v !== row[k]));
    return { title: `Entry ${e.position}`, body: html`<p class="path"><a href="/log">Log</a></p><div class="top"><h1>Entry ${number(e.position)}</h1><span class="pill plain">${e.operation}</span></div>
<p class="lead">${who(e)}${e.impersonated && ' (an operator’s session)'}, ${moment(e.at)}, ${e.table_schema && `${e.table_schema}.`}${e.table_name}${e.client_ip && `, from ${e.client_ip}`}</p>
<div class="columns"><section class="card"><h2>What it says</h2><table class="diff"><thead><tr><th scope="col">Column</th>${e.operation === 'update' && html`<th scope="col">Before</th>`}<th scope="col">${e.operation === 'delete' ? 'Was' : 'Value'}</th></tr></thead><tbody>${Object.keys(row).map(k =>
        html`<tr${k in was && html` class="changed"`}><th scope="row">${k}</th>${e.operation === 'update' && html`<td>${k in was && shown(was[k])}</td>`}<td><bdi>${shown(row[k])}</bdi></td></tr>`)}</tbody></table></section>
<section class="card"><h2>That it stands in the log</h2><ul class="checks">${Object.entries(checks).map(([what, holds]) => html`<li class="${holds ? 'ok' : 'fail'}"><span aria-hidden="true">${holds ? '✓' : '✗'}</span> <span class="visually-hidden">${holds ? 'yes:' : 'no:'}</span>${what}</li>`)}</ul>
<p><small>Computed by this web tier from the entry’s bytes, the proof and the public key.</small></p>${ladder(e.position, rest)}
<details class="edit"><summary>The proof, to keep</summary><pre tabindex="0">${proof}</pre><p><small>Key: <code>${key}</code></small></p></details></section></div>` };
};

// ---- posture ----

const stands = { fails: 'broken', unknown: 'not known', holds: 'kept' };
const kinds = { enforced: 'the database keeps it', provided: 'there to be used', attested: 'somebody vouches for it', 'web tier': 'for the web tier to keep' };
export const posture = list => {
    const count = status => list.filter(row => row.status === status).length;
    return { title: 'Posture', body: html`<div class="top"><h1>Posture</h1></div>${list.length ? html`<section class="card summary">${ring(['holds', 'unknown', 'fails'].map(s => [s, count(s)]))}
<p class="lead">${count('holds')} of ${list.length} promises are kept${count('unknown') > 0 && `, ${count('unknown')} cannot be judged from inside`}${count('fails') > 0 && html`, <b>${count('fails')} ${count('fails') === 1 ? 'is' : 'are'} broken</b>`}. Read from the running database: ${moment(list[0].seen_at)}.</p></section>
${Object.keys(stands).filter(count).map(s => html`<section><h2 class="group">${count(s)} ${stands[s]}</h2><ul class="promises">${list.filter(row => row.status === s).map(row =>
        html`<li class="card ${s}"><h3><span class="light" aria-hidden="true"></span>${row.promise}</h3><small>${row.claim} · ${kinds[row.kind] ?? row.kind}</small>
<details${s === 'fails' && ' open'}><summary>What was seen<span class="visually-hidden"> of ${row.claim}</span></summary><ul>${row.evidence?.split('\n').map(line => html`<li>${line}</li>`)}</ul></details></li>`)}</ul></section>`)}`
        : none('Posture is open to members who see the whole practice and have the module reports.')}` };
};
