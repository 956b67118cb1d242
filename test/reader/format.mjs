// docs/format.md in another language, with Node's own crypto: what opens here was written as documented.
// Throws for whatever the format refuses.
import { createCipheriv, createDecipheriv, createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';

const TYPES = { 1: 'text', 2: 'bytea', 3: 'int8', 4: 'numeric', 5: 'date', 6: 'timestamptz', 7: 'jsonb' };
const WIDTHS = { 3: 8, 5: 4, 6: 8 };
const TAG = 1, FOLD = 2, TOKENS = 4;
const KINDS = { 1: 3, 3: 4, 4: 4, 5: 4, 6: 4, 7: 8 };
const LEVELS = { 5: 9, 6: 14 };

export function derive(key, label, parameters = Buffer.alloc(0), length = 32) {
    const padded = Buffer.alloc(16);
    if (padded.write(label, 'ascii') !== label.length) throw new Error('label too long');
    const info = Buffer.concat([Buffer.from('immiiq/v1/'), padded, parameters]);
    return Buffer.from(hkdfSync('sha256', key, Buffer.alloc(0), info, length));
}

// The AES-256-GCM key and nonce that XAES-256-GCM (C2SP) uses for one message.
function xaes(key, nonce) {
    const ecb = createCipheriv('aes-256-ecb', key, null).setAutoPadding(false);
    const l = ecb.update(Buffer.alloc(16));
    const k1 = Buffer.alloc(16);
    for (let i = 0; i < 16; i++) k1[i] = (l[i] << 1) & 0xff | (i < 15 ? l[i + 1] >> 7 : 0);
    if (l[0] & 0x80) k1[15] ^= 0x87;
    const block = counter => {
        const m = Buffer.concat([Buffer.from([0, counter, 0x58, 0]), nonce.subarray(0, 12)]);
        for (let i = 0; i < 16; i++) m[i] ^= k1[i];
        return ecb.update(m);
    };
    return [Buffer.concat([block(1), block(2)]), nonce.subarray(12)];
}

export function seal(key, nonce, aad, plain) {
    const gcm = createCipheriv('aes-256-gcm', ...xaes(key, nonce));
    gcm.setAAD(aad);
    return Buffer.concat([gcm.update(plain), gcm.final(), gcm.getAuthTag()]);
}

export function open(key, nonce, aad, sealed) {
    if (sealed.length < 16) throw new Error('too short');
    const gcm = createDecipheriv('aes-256-gcm', ...xaes(key, nonce));
    gcm.setAAD(aad);
    gcm.setAuthTag(sealed.subarray(sealed.length - 16));
    return Buffer.concat([gcm.update(sealed.subarray(0, sealed.length - 16)), gcm.final()]);
}

function uint32(n) {
    const b = Buffer.alloc(4);
    b.writeUInt32BE(n);
    return b;
}

function wrapAad(row) {
    const purpose = Buffer.alloc(16);
    purpose.write(row.purpose, 'ascii');
    const org = Buffer.from((row.org ?? '').replaceAll('-', '').padStart(32, '0'), 'hex');
    const rootId = Buffer.from(row.rootId, 'ascii');
    return Buffer.concat([Buffer.from('immiiq.wrap.v1'), purpose, org, uint32(row.version), uint32(row.keyId),
        Buffer.from([rootId.length]), rootId]);
}

export function wrap(root, row, key, nonce) {
    return Buffer.concat([nonce, seal(derive(root, 'wrap'), nonce, wrapAad(row), key),
        derive(key, 'check', undefined, 16)]);
}

export function unwrap(root, row) {
    const wrapped = row.wrapped;
    if (wrapped.length !== 88) throw new Error('a wrapped key has 88 bytes');
    const key = open(derive(root, 'wrap'), wrapped.subarray(0, 24), wrapAad(row), wrapped.subarray(24, 72));
    if (!timingSafeEqual(derive(key, 'check', undefined, 16), wrapped.subarray(72)))
        throw new Error('the check value is wrong');
    return key;
}

export function parse(bytes) {
    if (bytes.length < 8 || bytes[0] !== 0x11) throw new Error('not a sealed value of version 1');
    const value = { type: bytes[1] >> 4, flags: bytes[1] & 15, domain: bytes.readUInt16BE(2), keyId: bytes.readUInt32BE(4) };
    if (!(value.type in TYPES) || value.flags > 7 || (value.flags & (TAG | FOLD)) === FOLD || value.keyId === 0) throw new Error('not canonical');
    if (value.flags & FOLD && value.type !== 1) throw new Error('only text is folded');
    let prefix = value.flags & TAG ? 24 : 8;
    value.kinds = 0;
    value.tokens = [];
    if (value.flags & TOKENS) {
        if (bytes.length < prefix + 4) throw new Error('wrong length');
        value.kinds = bytes[prefix];
        const count = bytes.readUIntBE(prefix + 1, 3);
        if (value.kinds === 0 || value.kinds & ~(KINDS[value.type] ?? 0) || count > 1 << 20) throw new Error('not canonical');
        if (bytes.length < prefix + 4 + 4 * count) throw new Error('wrong length');
        for (let i = 0; i < count; i++) value.tokens.push(bytes.readUInt32BE(prefix + 4 + 4 * i));
        if (value.tokens.some((token, i) => i > 0 && token <= value.tokens[i - 1])) throw new Error('not canonical');
        prefix += 4 + 4 * count;
    }
    const plain = bytes.length - prefix - 40;
    if (plain < 0 || (value.type in WIDTHS && plain !== WIDTHS[value.type])) throw new Error('wrong length');
    value.prefix = bytes.subarray(0, prefix);
    value.tag = value.flags & TAG ? bytes.subarray(8, 24) : null;
    value.nonce = bytes.subarray(prefix, prefix + 24);
    value.sealed = bytes.subarray(prefix + 24);
    return value;
}

function field(value) {
    return Buffer.from([value.type, value.domain >> 8, value.domain & 255]);
}

export function openEnvelope(dataKey, value) {
    const aad = Buffer.concat([Buffer.from('immiiq.envelope.v1'), value.prefix]);
    return open(derive(dataKey, 'field', field(value)), value.nonce, aad, value.sealed);
}

// The 16-byte tag of canonical bytes: kind 1 for equality, 2 for the folded value.
export function equalityTag(indexSecret, type, domain, kind, canonical) {
    const key = derive(indexSecret, 'tag', Buffer.from([type, domain >> 8, domain & 255, kind]));
    return createHmac('sha256', key).update(canonical).digest().subarray(0, 16);
}

// The tokens of a date's or timestamp's range, ascending.
export function rangeTokens(indexSecret, type, domain, plain) {
    const key = derive(indexSecret, 'tag', Buffer.from([type, domain >> 8, domain & 255, 5]));
    const since1700 = type === 5 ? BigInt(plain.readInt32BE(0)) + 109572n
        : (plain.readBigInt64BE(0) + 109572n * 86400000000n) / 60000000n;
    const last = 4n ** BigInt(LEVELS[type]) - 1n;
    const point = since1700 < 0n ? 0n : since1700 > last ? last : since1700;
    const tokens = [];
    for (let level = 0; level < LEVELS[type]; level++) {
        const message = Buffer.alloc(5);
        message[0] = level;
        message.writeUInt32BE(Number(point >> BigInt(2 * level)), 1);
        tokens.push(createHmac('sha256', key).update(message).digest().readUInt32BE(0));
    }
    return [...new Set(tokens)].sort((a, b) => a - b);
}

export function dearmour(text) {
    if (!/^iq1:[A-Za-z0-9_-]*$/.test(text)) throw new Error('not armour');
    const bytes = Buffer.from(text.slice(4), 'base64url');
    if (bytes.toString('base64url') !== text.slice(4)) throw new Error('armour is not canonical');
    return parse(bytes);
}

export function typeName(type) {
    return TYPES[type];
}

function printNumeric(plain) {
    const [count, weight, sign, shown] = [plain.readUInt16BE(0), plain.readInt16BE(2), plain.readUInt16BE(4), plain.readUInt16BE(6)];
    if (sign >= 0xC000) return { 0xC000: 'NaN', 0xD000: 'Infinity', 0xF000: '-Infinity' }[sign];
    const digit = (i) => String(i >= 0 && i < count ? plain.readUInt16BE(8 + 2 * i) : 0).padStart(4, '0');
    let whole = '', part = '';
    for (let i = 0; i <= weight; i++) whole += digit(i);
    for (let i = weight + 1; part.length < shown; i++) part += digit(i);
    return (sign ? '-' : '') + (whole.replace(/^0+/, '') || '0') + (shown > 0 ? `.${part.slice(0, shown)}` : '');
}

// Plaintext bytes as the text PostgreSQL prints (ISO dates).
export function print(type, plain) {
    if (TYPES[type] === 'text' || TYPES[type] === 'jsonb') return new TextDecoder('utf-8', { fatal: true }).decode(plain);
    if (TYPES[type] === 'bytea') return `\\x${plain.toString('hex')}`;
    if (TYPES[type] === 'int8') return String(plain.readBigInt64BE(0));
    if (TYPES[type] === 'numeric') return printNumeric(plain);
    if (TYPES[type] === 'timestamptz')
        return new Date(Number(plain.readBigInt64BE(0) / 1000n) + Date.UTC(2000, 0, 1)).toISOString();
    const days = plain.readInt32BE(0);
    if (days === 2147483647) return 'infinity';
    if (days === -2147483648) return '-infinity';
    const date = new Date(Date.UTC(2000, 0, 1) + days * 86400000);
    const year = date.getUTCFullYear();
    const pad = (n, width) => String(n).padStart(width, '0');
    return `${pad(year > 0 ? year : 1 - year, 4)}-${pad(date.getUTCMonth() + 1, 2)}-${pad(date.getUTCDate(), 2)}${year > 0 ? '' : ' BC'}`;
}

// Root keys by id from the text of a root key file.
export function parseRoots(text) {
    const roots = new Map();
    for (const line of text.split('\n')) {
        const m = /^[ \t]*([A-Za-z0-9._-]{1,32})[ \t]+([0-9a-fA-F]{64})[ \t\r]*$/.exec(line);
        if (m) roots.set(m[1], Buffer.from(m[2], 'hex'));
        else if (!/^[ \t\r]*(#.*)?$/.test(line)) throw new Error('malformed root key file');
    }
    return roots;
}

// Rows of immiiq.wrapped_key as COPY writes them in text format.
export function parseWrappedKeys(text) {
    return text.split('\n').filter(line => line !== '').map(line => {
        const [keyId, org, purpose, version, rootId, wrapped] = line.split('\t');
        return { keyId: Number(keyId), org: org === '\\N' ? null : org, purpose, version: Number(version), rootId,
            wrapped: Buffer.from(wrapped.replace(/^\\\\x/, ''), 'hex') };
    });
}
