// html`…` escapes whatever is put into it, except what another html`…` has made.
class Html { constructor(text) { this.text = text; } }
const escaped = value => String(value).replace(/[&<>"'`]/g, c => `&#${c.charCodeAt(0)};`);
const render = value => value instanceof Html ? value.text : Array.isArray(value) ? value.map(render).join('')
    : value === null || value === undefined || value === false ? '' : escaped(value);
export const html = (parts, ...values) => new Html(parts.reduce((text, part, i) => text + render(values[i - 1]) + part));
