// Drawings: inline SVG without script or style attributes; colours are classes of style.css. Each has its meaning as text, too.
import { html } from './html.mjs';

const number = n => Number(n).toLocaleString('en-GB');
const hex = bytes => bytes.toString('hex').slice(0, 8);

// The log as a range of mountains: full trees of 2^k entries, whose peaks are hashed into one root that is signed.
export function peaks({ entries, at }, waiting) {
    const sizes = [];
    for (let bit = 2n ** 62n, left = BigInt(entries); bit; bit /= 2n) if (left & bit) sizes.push(Number(bit));
    const weight = size => Math.sqrt(size) + Math.sqrt(Number(entries)) / 14, scale = 600 / sizes.reduce((sum, size) => sum + weight(size), 0);
    const height = size => 26 + 120 * Math.log2(size + 1) / Math.log2(sizes[0] + 1);
    let x = 20;
    const hills = sizes.map(size => {
        const hill = { size, left: x, middle: x + weight(size) * scale / 2, right: x + weight(size) * scale, top: 200 - height(size) };
        x = hill.right;
        return hill;
    });
    const root = { x: 560, y: 22 }, age = Math.max(0, Math.round((Date.now() - at) / 1000));
    return html`<figure class="state"><svg viewBox="0 0 640 236" role="img" aria-labelledby="peaks-title"><title id="peaks-title">${number(entries)} entries in ${sizes.length} full trees, hashed into one signed root; ${waiting} waiting</title>
${hills.map(h => html`<path class="thread" d="M${h.middle} ${h.top}Q${h.middle} ${root.y} ${root.x} ${root.y}"/>`)}
${hills.map((h, i) => html`<path class="hill h${i % 3}" d="M${h.left} 200 ${h.middle} ${h.top} ${h.right} 200z"/>${h.right - h.left > 60 && html`<text class="label" x="${h.middle}" y="218">${number(h.size)}</text>`}`)}
<path class="ground" d="M20 200H620"/>${Array.from({ length: Math.min(waiting, 24) }, (_, i) => html`<circle class="waiting" cx="${612 - i * 9}" cy="228" r="3"/>`)}
<circle class="root" cx="${root.x}" cy="${root.y}" r="13"/><path class="tick" d="m${root.x - 5} ${root.y} 4 4 7-8"/></svg>
<figcaption>Each mountain is a full tree of entries; their peaks are hashed into one root, which is signed. To change one grain is to change the root.
<b>${waiting ? `${number(waiting)} ${waiting === 1 ? 'entry waits' : 'entries wait'} for the next signature.` : 'Nothing waits.'}</b> The newest entry is ${age < 90 ? `${age} s` : age < 5400 ? `${Math.round(age / 60)} min` : `${Math.round(age / 3600)} h`} old.</figcaption></figure>`;
}

const marks = { insert: 'M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0', update: 'M0-5.500 5.500 0 0 5.500-5.500 0z', delete: 'M-4-4H4V4H-4z', event: 'M0-5 5 4H-5z' };
// The last entries as marks on one line for each person, the newest on the left.
export function lanes(entries) {
    const names = [...new Set(entries.map(e => e.who))], high = 34 * names.length + 8;
    return html`<figure><div class="wide-scroll" tabindex="0" role="group" aria-label="Entries by person; the same is in the table below"><svg class="lanes" viewBox="0 0 900 ${high}">
${names.map((name, i) => html`<path class="ground" d="M150 ${i * 34 + 22}H890"/><text class="lane" x="0" y="${i * 34 + 26}">${name.length > 20 ? `${name.slice(0, 19)}…` : name}</text>`)}
${entries.map((e, i) => html`<a href="/log/${e.position}" tabindex="-1"><path class="mark-${e.operation}" transform="translate(${(160 + i * 724 / Math.max(entries.length, 40)).toFixed(1)} ${names.indexOf(e.who) * 34 + 22})" d="${marks[e.operation]}"><title>${e.who}: ${e.operation} ${e.table_name}, entry ${e.position}</title></path></a>`)}
</svg></div><figcaption class="legend">${Object.entries(marks).map(([name, d]) => html`<span><svg viewBox="-7 -7 14 14" width="14" height="14" aria-hidden="true"><path class="mark-${name}" d="${d}"/></svg> ${name}</span>`)}<span>Newest on the left</span></figcaption></figure>`;
}

// How many values of each column somebody has opened: a table, shaded by the order of magnitude.
export function heat(list) {
    const columns = [...new Set(list.map(o => o.column_name))].sort(), people = [...new Set(list.map(o => o.who))];
    const cell = (who, column) => list.filter(o => o.who === who && o.column_name === column).reduce((sum, o) => sum + Number(o.opened), 0);
    return html`<div class="wide-scroll" tabindex="0" role="group" aria-label="Opened fields by person"><table class="heat"><caption class="visually-hidden">Sealed values opened today, by person and column</caption>
<thead><tr><td></td>${people.map(p => html`<th scope="col">${p}</th>`)}</tr></thead>
<tbody>${columns.map(c => html`<tr><th scope="row">${c.replace(/^public\./, '').replace('.', ': ').replaceAll('_', ' ')}</th>${people.map(p => { const n = cell(p, c); return html`<td class="s${n ? Math.min(5, 1 + Math.floor(Math.log10(n))) : 0}">${n ? number(n) : ''}</td>`; })}</tr>`)}</tbody></table></div>`;
}

// A proof as a ladder: from the entry up, each step joined by the hash on its other side, to the root and its signature.
export function ladder(position, { below, above, batch, size }) {
    const steps = [...below, { turn: true }, ...above];
    const high = 24 * steps.length + 96, y = i => high - 54 - 24 * i;
    return html`<figure><svg class="ladder" viewBox="0 0 320 ${high}" role="img" aria-labelledby="ladder-title"><title id="ladder-title">${below.length} hashes lead from entry ${position} to the root of batch ${batch}, ${above.length} more to the signed root of ${size} batches</title>
<path class="thread strong" d="M160 ${high - 40}V34"/>
${steps.map((s, i) => s.turn ? html`<rect class="knot" x="108" y="${y(i + 1) - 10}" width="104" height="20" rx="10"/><text class="on" x="160" y="${y(i + 1) + 4}">batch ${number(batch)}</text>`
        : html`<path class="thread" d="M${s.side === 'left' ? 96 : 224} ${y(i) - 6}Q160 ${y(i) - 8} 160 ${y(i + 1)}"/><rect class="leaf" x="${s.side === 'left' ? 22 : 224}" y="${y(i) - 14}" width="74" height="17" rx="4"/>
<text class="hash" x="${s.side === 'left' ? 59 : 261}" y="${y(i) - 2}">${hex(s.sibling)}</text><circle class="step" cx="160" cy="${y(i + 1)}" r="3.500"/>`)}
<rect class="knot" x="88" y="${high - 40}" width="144" height="24" rx="12"/><text class="on" x="160" y="${high - 24}">entry ${number(position)}</text>
<circle class="root" cx="160" cy="22" r="15"/><path class="tick" d="m154 22 5 5 8-10"/><text class="label" x="212" y="20">signed root</text></svg></figure>`;
}

// Shares of a whole.
export function ring(parts) {
    const total = parts.reduce((sum, [, n]) => sum + n, 0), turn = 2 * Math.PI * 40;
    let before = 0;
    return html`<svg class="ring" viewBox="0 0 100 100" width="110" height="110" role="img" aria-labelledby="ring-title"><title id="ring-title">${parts.map(([name, n]) => `${n} ${name}`).join(', ')}</title>
<circle class="rest" cx="50" cy="50" r="40"/>${parts.map(([name, n]) => { const arc = html`<circle class="arc ${name}" cx="50" cy="50" r="40" transform="rotate(${-90 + 360 * before / total} 50 50)" stroke-dasharray="${turn * n / total} ${turn}"/>`; before += n; return n > 0 && arc; })}
<text x="50" y="57">${parts[0][1]}/${total}</text></svg>`;
}
