// Checks a proof of immiiq.prove_entry() with nothing but hashes and one signature: RFC 6962 paths, C2SP signed note.
import { createHash, createPublicKey, verify } from 'node:crypto';

const sha256 = (...parts) => createHash('sha256').update(Buffer.concat(parts)).digest();
const leafHash = data => sha256(Buffer.of(0), data);
const nodeHash = (left, right) => sha256(Buffer.of(1), left, right);

// The way from a leaf to the root of a tree of that size: each step's sibling and on which side it stands.
function climb(hash, index, size, path) {
    const steps = [];
    let last = size - 1n;
    for (const sibling of path) {
        if (last === 0n) throw new Error('the path is too long');
        const onLeft = index & 1n || index === last;
        hash = onLeft ? nodeHash(sibling, hash) : nodeHash(hash, sibling);
        steps.push({ sibling, hash, side: onLeft ? 'left' : 'right' });
        if (onLeft) for (; index && !(index & 1n); index >>= 1n) last >>= 1n;
        index >>= 1n, last >>= 1n;
    }
    if (last !== 0n) throw new Error('the path is too short');
    return { hash, steps };
}

// body: the entry's bytes; proof: the text; key: immiiq.log_verifier(), name+id+key, had by another way in earnest.
export function checkProof(body, position, proof, key) {
    const [head, note] = [proof.slice(0, proof.indexOf('\n\n')), proof.slice(proof.indexOf('\n\n') + 2)];
    const [format, extraLine, indexLine, ...hashes] = head.split('\n');
    const extra = Buffer.from(extraLine.slice('extra '.length), 'base64');
    const batch = extra.subarray(8, 137), text = note.slice(0, note.indexOf('\n\n') + 1), [origin, size, root] = text.split('\n');
    const inner = [];
    for (let at = 137; at < extra.length; at += 32) inner.push(extra.subarray(at, at + 32));
    const entry = climb(leafHash(body), BigInt(position) - 1n, batch.readBigInt64BE(49), inner);
    const tree = climb(leafHash(batch), BigInt(indexLine.slice('index '.length)), BigInt(size), hashes.map(h => Buffer.from(h, 'base64')));
    const signature = Buffer.from(note.trimEnd().split('\n').find(line => line.startsWith(`— ${origin} `)).split(' ')[2], 'base64').subarray(4);
    const raw = Buffer.from(key.split('+').slice(2).join('+'), 'base64').subarray(1);
    const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: raw.toString('base64url') }, format: 'jwk' });
    return { batch: batch.readBigInt64BE(17), size, origin, note, below: entry.steps, above: tree.steps, checks: {
        'the proof is one, and of this position': format === 'c2sp.org/tlog-proof@v1' && extra.readBigInt64BE(0) === BigInt(position),
        'the entry leads to the root of its batch': entry.hash.equals(batch.subarray(65, 97)),
        'the batch leads to the signed root': tree.hash.toString('base64') === root,
        'the signature under it holds': verify(null, Buffer.from(text), publicKey, signature) } };
}
