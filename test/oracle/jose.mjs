// jose (npm) verifies what immiiq signs, and immiiq what jose signs; prints TAP. DATABASE names a database with immiiq.
import { execFileSync } from 'node:child_process'
import * as jose from 'jose'

let count = 0
let failed = 0
function ok(good, name) {
	count++
	if (!good) failed++
	console.log(`${good ? '' : 'not '}ok ${count} - ${name}`)
}

// One value of one statement, as the database's superuser; parameters are given as psql variables.
function sql(text, values = {}) {
	const set = Object.entries(values).flatMap(([name, value]) => ['-v', `${name}=${value}`])
	return execFileSync('psql', ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', ...set, '-d', process.env.DATABASE],
		{ input: text }).toString().trim()
}

const org = sql("SELECT immiiq.create_org('Harbour')")
const member = sql("INSERT INTO immiiq.member (org_id, email, name, scope, modules) VALUES (:'org', 'a@harbour.example', 'A', 'all', '{}') RETURNING member_id",
	{ org })
const opened = JSON.parse(sql(
	"SELECT to_jsonb(immiiq.open_session(immiiq.begin_sign_in('link', NULL, NULL, NULL, NULL, NULL), :'org', :'member', NULL))", { org, member }))
const ours = jose.createLocalJWKSet(JSON.parse(sql('SELECT immiiq.jwks()')))
const { payload, protectedHeader } = await jose.jwtVerify(opened.access_token, ours,
	{ issuer: 'immiiq', audience: 'immiiq', typ: 'at+jwt', algorithms: ['EdDSA'], requiredClaims: ['sid', 'exp', 'iat', 'jti'] })
ok(payload.sub === member && payload.sid === opened.session_id, 'jose verifies our access token by our key set')
ok(protectedHeader.kid === await jose.calculateJwkThumbprint(JSON.parse(sql('SELECT immiiq.jwks()')).keys[0]), 'its kid is the thumbprint that jose computes')
const parts = opened.access_token.split('.')
parts[1] = Buffer.from(JSON.stringify({ ...payload, sub: org })).toString('base64url')
ok(await jose.jwtVerify(parts.join('.'), ours).then(() => false, () => true), 'and refuses it with other claims')

const verify = "SELECT coalesce((v).claims ->> 'sub', (v).reason) FROM (SELECT immiiq.verify_id_token(:'token', 'https://idp.example', 'client', :'set', '{RS256,ES256,EdDSA}') AS v) AS q"
for (const alg of ['RS256', 'ES256', 'EdDSA']) {
	const { publicKey, privateKey } = await jose.generateKeyPair(alg, { extractable: true })
	const set = JSON.stringify({ keys: [{ ...await jose.exportJWK(publicKey), kid: 'k', use: 'sig', alg }] })
	const claims = new jose.SignJWT({ nonce: 'n' }).setProtectedHeader({ alg, kid: 'k', typ: 'JWT' }).setIssuer('https://idp.example')
		.setAudience('client').setSubject('ana').setIssuedAt().setExpirationTime('5m')
	const token = await claims.sign(privateKey)
	ok(sql(verify, { token, set }) === 'ana', `immiiq verifies ${alg} by jose`)
	ok(sql('SELECT immiiq.jwks_problem(:\'set\') IS NULL', { set }) === 't', `and takes its key set`)
	const [header, , signature] = token.split('.')
	const other = Buffer.from(JSON.stringify({ ...jose.decodeJwt(token), sub: 'eve' })).toString('base64url')
	ok(sql(verify, { token: `${header}.${other}.${signature}`, set }) === 'wrong signature', 'and refuses it with other claims')
	// key confusion: HMAC under the public key's text
	const mac = await new jose.SignJWT(jose.decodeJwt(token)).setProtectedHeader({ alg: 'HS256', kid: 'k' })
		.sign(new TextEncoder().encode(await jose.exportSPKI(publicKey)))
	ok(sql(verify, { token: mac, set }) === 'algorithm not allowed', 'and an HMAC under the public key')
	const none = new jose.UnsecuredJWT(jose.decodeJwt(token)).encode()
	ok(sql(verify, { token: none, set }) === 'malformed', 'and a token without a signature')
}
console.log(`1..${count}`)
process.exit(failed ? 1 : 0)
