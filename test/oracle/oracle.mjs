// oracle.mjs PROGRAM: compares our signatures with those of @aws-sdk/s3-request-presigner, byte for byte, and has
// ours verify what stripe and standardwebhooks sign. Prints one line for each kind; fails on any difference.
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { S3Client, GetObjectCommand, PutObjectCommand, HeadObjectCommand, DeleteObjectCommand } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { createPresignedPost } from '@aws-sdk/s3-presigned-post';
import Stripe from 'stripe';
import { Webhook } from 'standardwebhooks';

// The same cases in every run.
let state = 20130524;
const random = n => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) % n;
const pick = list => list[random(list.length)];
const pieces = ['a', 'Z', '0', '-', '_', '.x', '~', ' ', '+', '%', '%2F', '&', '=', '?', '#', '@', ':', ';', ',', '!', "'", '(', ')', '*', '$',
	'"', '<', '>', '[', ']', '{', '}', '|', '^', '`', '\\', 'é', 'Ä', 'ß', '日本', 'Ω', 'и', 'א', '😀', '\u0301', 'ü/ö'];
const text = n => Array.from({ length: 1 + random(n) }, () => pick(pieces)).join('');
const key = () => Array.from({ length: 1 + random(4) }, () => 'k' + text(8)).join('/').replace(/\/+/g, '/');

const lines = [], wanted = [], names = [];
const ask = (name, fields, answer) => { names.push(name); lines.push(fields.join('\t')); wanted.push(answer); };

for (let i = 0; i < 320; i++) {
	const region = pick(['us-east-1', 'eu-west-1', 'ap-southeast-2', 'auto']);
	const path = random(2) === 0;
	const host = path || region === 'auto' ? pick(['s3.example:9000', 'storage.example', '0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com']) : null;
	const credentials = { accessKeyId: pick(['AKIAIOSFODNN7EXAMPLE', 'AK+IA/x=']), secretAccessKey: randomBytes(30).toString('base64') };
	if (random(3) === 0) credentials.sessionToken = randomBytes(100).toString('base64');
	const client = new S3Client({ region, credentials, forcePathStyle: path, ...(host && { endpoint: `https://${host}` }) });
	const Key = key(), Bucket = 'papers-' + random(100);
	const input = { Bucket, Key };
	const query = [], headers = [];
	const kind = i % 4;
	if (kind === 0) {
		const given = { ResponseContentDisposition: 'response-content-disposition', ResponseContentType: 'response-content-type',
			ResponseCacheControl: 'response-cache-control', VersionId: 'versionId' };
		for (const [name, parameter] of Object.entries(given))
			if (random(2) === 0) {
				input[name] = parameter === 'versionId' ? 'v' + random(1e9) : `attachment; filename="${text(6)}"`;
				query.push([parameter, input[name]]);
			}
	} else if (kind === 1) {
		input.ContentType = pick(['application/pdf', 'image/png', 'text/plain; charset=utf-8']);
		headers.push(['content-type', input.ContentType]);
	}
	const command = new [GetObjectCommand, PutObjectCommand, HeadObjectCommand, DeleteObjectCommand][kind](input);
	const at = 1400000000 + random(1e9), expiresIn = 1 + random(604800);
	const url = await getSignedUrl(client, command, { expiresIn, signingDate: new Date(at * 1000), signableHeaders: new Set(['content-type']) });
	// What the SDK adds of its own accord; all else is what was given.
	for (const [name, value] of new URL(url).searchParams)
		if (/^(X-Amz-Content-Sha256|x-id|x-amz-checksum-\w+|x-amz-sdk-\w+(-\w+)*)$/.test(name)) query.push([name, value]);
	const server = host ?? `s3.${region}.amazonaws.com`;
	ask(`${command.constructor.name} ${Key}`, ['presign', ['GET', 'PUT', 'HEAD', 'DELETE'][kind], 'https', path ? server : `${Bucket}.${server}`,
		path ? `/${Bucket}/${Key}` : `/${Key}`, region, credentials.accessKeyId, credentials.secretAccessKey, credentials.sessionToken ?? '',
		at, expiresIn, query.length, ...query.flat(), headers.length, ...headers.flat()], url);
}
const presigned = names.length;

for (let i = 0; i < 40; i++) {
	const region = pick(['us-east-1', 'eu-west-1']), secretAccessKey = randomBytes(30).toString('base64');
	const client = new S3Client({ region, credentials: { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey } });
	const { fields } = await createPresignedPost(client, { Bucket: 'papers', Key: key(), Expires: 60 + i, Conditions: [['content-length-range', 0, i]] });
	ask('a form', ['policy', secretAccessKey, fields['X-Amz-Date'], region, fields.Policy], fields['X-Amz-Signature']);
}
const signed = names.length;

const stripe = new Stripe('sk_test_none');
for (let i = 0; i < 100; i++) {
	const secret = 'whsec_' + randomBytes(24).toString('base64url'), payload = JSON.stringify({ id: 'evt_' + i, text: text(20) });
	const timestamp = 1700000000 + i;
	const header = stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp });
	const hex = Buffer.from(payload).toString('hex');
	ask('stripe', ['stripe', secret, header, hex, timestamp + random(301)], 'valid');
	ask('stripe, a bit off', ['stripe', secret, header.replace(/.$/, c => (parseInt(c, 16) ^ 1).toString(16)), hex, timestamp], 'refused');
	const key = 'whsec_' + randomBytes(24).toString('base64');
	const signature = new Webhook(key).sign('msg_' + i, new Date(timestamp * 1000), payload);
	ask('standard', ['standard', key, 'msg_' + i, timestamp, signature, hex, timestamp - random(301)], 'valid');
	ask('standard, another id', ['standard', key, 'msg_x' + i, timestamp, signature, hex, timestamp], 'refused');
}

const run = spawnSync(process.argv[2], { input: lines.join('\n') + '\n', encoding: 'utf8', maxBuffer: 1 << 26 });
const answers = run.stdout.split('\n');
let bad = 0;
wanted.forEach((want, i) => {
	if (answers[i] !== want && ++bad <= 5) console.log(`# ${names[i]}\n# want ${want}\n# have ${answers[i]}`);
});
console.log(`${presigned} URLs as @aws-sdk/s3-request-presigner signs them, ${signed - presigned} forms as @aws-sdk/s3-presigned-post does, ${wanted.length - signed} webhooks of stripe and standardwebhooks: ${bad} differ`);
process.exit(bad === 0 && run.status === 0 && wanted.length === signed + 400 ? 0 : 1);
