// open_envelope.mjs ROOT_KEY_FILE WRAPPED_KEY_ROWS: opens armoured values from standard input, one a line.
// WRAPPED_KEY_ROWS is what COPY immiiq.wrapped_key TO writes. Prints one line of JSON for each value.
import { readFileSync } from 'node:fs';
import * as format from './format.mjs';

const [rootFile, rowsFile] = process.argv.slice(2);
const roots = format.parseRoots(readFileSync(rootFile, 'ascii'));
const rows = format.parseWrappedKeys(readFileSync(rowsFile, 'ascii'));
const keys = new Map();
const indexSecrets = new Map();

for (const row of rows) {
    const root = roots.get(row.rootId);
    if (!root) throw new Error(`root key ${row.rootId} is not in the file`);
    const key = format.unwrap(root, row);
    if (row.purpose === 'data') keys.set(row.keyId, { org: row.org, key });
    if (row.purpose === 'index') indexSecrets.set(row.org, key);
}

for (const line of readFileSync(0, 'utf8').split('\n')) {
    if (line === '') continue;
    const value = format.dearmour(line);
    const data = keys.get(value.keyId);
    if (!data) throw new Error(`data key ${value.keyId} is not among the rows`);
    const plain = format.openEnvelope(data.key, value);
    const found = { org: data.org, type: format.typeName(value.type), domain: value.domain,
        value: format.print(value.type, plain) };
    // The tag of a folded value needs the folding that docs/search.md defines; the others are checked here.
    if ((value.flags & 3) === 1 && value.type !== 4)
        found.tag = format.equalityTag(indexSecrets.get(data.org), value.type, value.domain, 1, plain).equals(value.tag);
    if (value.kinds === 4 && (value.type === 5 || value.type === 6))
        found.tokens = format.rangeTokens(indexSecrets.get(data.org), value.type, value.domain, plain).join() === value.tokens.join();
    console.log(JSON.stringify(found));
}
