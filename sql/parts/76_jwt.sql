-- JWTs of our own (EdDSA; each names a session and is worth nothing without it), and ID tokens of other issuers.

-- ---- what C does (access_token.c); for the functions below only ----

CREATE FUNCTION immiiq.jwt_public_key(number int) RETURNS bytea
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'immiiq_jwt_public_key';
COMMENT ON FUNCTION immiiq.jwt_public_key(int) IS 'Ed25519 public key of a signing key, which is derived from the installation key';
CREATE FUNCTION immiiq.sign_jwt(number int, header text, payload text) RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'immiiq_sign_jwt';
COMMENT ON FUNCTION immiiq.sign_jwt(int, text, text) IS 'a compact JWT by this signing key';
CREATE FUNCTION immiiq.read_id_token(token text) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_read_id_token';
COMMENT ON FUNCTION immiiq.read_id_token(text) IS 'the issuer that a token claims, unverified; null when it is no token';
CREATE FUNCTION immiiq.verify_id_token(token text, issuer text, audience text, jwks text, algorithms text[],
                                       OUT claims jsonb, OUT reason text)
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_verify_id_token';
COMMENT ON FUNCTION immiiq.verify_id_token(text, text, text, text, text[]) IS 'the claims of an ID token that holds, nonce apart, or why it does not';
CREATE FUNCTION immiiq.jwks_problem(jwks text) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_jwks_problem';
COMMENT ON FUNCTION immiiq.jwks_problem(text) IS 'what keeps a key set from being stored; null when nothing does';
REVOKE ALL ON FUNCTION immiiq.jwt_public_key(int), immiiq.sign_jwt(int, text, text), immiiq.read_id_token(text),
    immiiq.verify_id_token(text, text, text, text, text[]), immiiq.jwks_problem(text) FROM PUBLIC;

-- ---- signing keys ----

-- C reads the columns by position (access_token.c): append, never reorder.
CREATE TABLE immiiq.jwt_key (
    kid text COLLATE "C" NOT NULL PRIMARY KEY,
    number int NOT NULL UNIQUE CHECK (number OPERATOR(pg_catalog.>) 0),
    public_key bytea NOT NULL CHECK (pg_catalog.octet_length(public_key) OPERATOR(pg_catalog.=) 32),
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    signs_from timestamptz NOT NULL,
    verifies_until timestamptz NOT NULL DEFAULT 'infinity'
);
COMMENT ON TABLE immiiq.jwt_key IS 'public keys of our JWTs; the private ones are derived from the installation key and stored nowhere';
COMMENT ON COLUMN immiiq.jwt_key.kid IS 'the key''s JWK thumbprint (RFC 7638)';
REVOKE ALL ON immiiq.jwt_key FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.jwt_key', '');
INSERT INTO immiiq.privilege VALUES
    ('auditor', 'SELECT', 'TABLE immiiq.jwt_key'),
    ('operator', 'SELECT', 'TABLE immiiq.jwt_key');

CREATE FUNCTION immiiq.base64url(data bytea) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN pg_catalog.translate(pg_catalog.encode(data, 'base64'), E'+/=\n', '-_');
COMMENT ON FUNCTION immiiq.base64url(bytea) IS 'base64url without padding (RFC 4648, 5)';
REVOKE ALL ON FUNCTION immiiq.base64url(bytea) FROM PUBLIC;

CREATE FUNCTION immiiq.add_jwt_key(signs_from timestamptz) RETURNS text
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    next int;
    public_key bytea;
    name text;
BEGIN
    SELECT coalesce(max(k.number), 0) + 1 INTO next FROM immiiq.jwt_key AS k;
    public_key := immiiq.jwt_public_key(next);
    name := immiiq.base64url(sha256(convert_to(
        format('{"crv":"Ed25519","kty":"OKP","x":"%s"}', immiiq.base64url(public_key)), 'UTF8')));
    INSERT INTO immiiq.jwt_key (kid, number, public_key, signs_from) VALUES (name, next, public_key, add_jwt_key.signs_from);
    RETURN name;
END
$$;
COMMENT ON FUNCTION immiiq.add_jwt_key(timestamptz) IS 'the next signing key; under a lock of immiiq.jwt_key';

CREATE FUNCTION immiiq.rotate_jwt_key(ahead interval DEFAULT '10 minutes', distrust boolean DEFAULT false) RETURNS text
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    starts constant timestamptz := clock_timestamp() + CASE WHEN distrust THEN interval '0' ELSE ahead END;
BEGIN
    IF ahead < interval '0' OR ahead > interval '7 days' THEN
        RAISE EXCEPTION 'a key is published at most seven days ahead' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    LOCK TABLE immiiq.jwt_key IN SHARE ROW EXCLUSIVE MODE;
    -- What the former keys signed, or will until then, outlives them by its fifteen minutes at most.
    UPDATE immiiq.jwt_key AS k SET verifies_until = CASE WHEN distrust THEN clock_timestamp() ELSE starts + interval '16 minutes' END
    WHERE k.verifies_until > CASE WHEN distrust THEN clock_timestamp() ELSE starts + interval '16 minutes' END;
    RETURN immiiq.add_jwt_key(starts);
END
$$;
COMMENT ON FUNCTION immiiq.rotate_jwt_key(interval, boolean)
    IS 'a new signing key: in jwks() at once, signing after a while; the former ones verify until what they signed has expired, or no more';

CREATE FUNCTION immiiq.signing_jwt_key(OUT number int, OUT kid text)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    FOR attempt IN 1 .. 2 LOOP
        SELECT k.number, k.kid INTO signing_jwt_key.number, signing_jwt_key.kid FROM immiiq.jwt_key AS k
        WHERE k.signs_from <= clock_timestamp() AND k.verifies_until > clock_timestamp() + interval '15 minutes'
        ORDER BY k.signs_from DESC, k.number DESC LIMIT 1;
        EXIT WHEN FOUND OR attempt = 2;
        LOCK TABLE immiiq.jwt_key IN SHARE ROW EXCLUSIVE MODE;
        -- Somebody else may have made it while this one waited.
        CONTINUE WHEN EXISTS (SELECT FROM immiiq.jwt_key AS k WHERE k.signs_from <= clock_timestamp()
                              AND k.verifies_until > clock_timestamp() + interval '15 minutes');
        PERFORM immiiq.add_jwt_key(clock_timestamp());
    END LOOP;
    IF signing_jwt_key.kid IS NULL THEN
        RAISE EXCEPTION 'could not serialize access to the signing keys' USING ERRCODE = 'serialization_failure';
    END IF;
END
$$;
COMMENT ON FUNCTION immiiq.signing_jwt_key() IS 'the key that signs now; the first one is made when it is needed';

CREATE FUNCTION immiiq.jwks() RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object('keys', coalesce(jsonb_agg(
        jsonb_build_object('kty', 'OKP', 'crv', 'Ed25519', 'alg', 'EdDSA', 'use', 'sig', 'kid', k.kid,
                           'x', immiiq.base64url(k.public_key))
        ORDER BY k.number DESC), '[]'))
    FROM immiiq.jwt_key AS k WHERE k.verifies_until OPERATOR(pg_catalog.>) clock_timestamp()
$$;
COMMENT ON FUNCTION immiiq.jwks() IS 'the public keys of this installation''s JWTs (RFC 7517), for whoever verifies them elsewhere';
REVOKE ALL ON FUNCTION immiiq.add_jwt_key(timestamptz), immiiq.rotate_jwt_key(interval, boolean), immiiq.signing_jwt_key(),
    immiiq.jwks() FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('operator', 'EXECUTE', 'FUNCTION immiiq.rotate_jwt_key(interval, boolean)'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.jwks()'),
    ('auditor', 'EXECUTE', 'FUNCTION immiiq.jwks()'),
    ('application', 'EXECUTE', 'FUNCTION immiiq.jwks()');

-- ---- issuing and verifying ----

-- What every token of a session says; null when the session does not live. Times in whole seconds, and never longer than the session.
CREATE FUNCTION immiiq.session_claims(session uuid, ttl interval) RETURNS jsonb
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL RESTRICTED
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    at constant timestamptz := clock_timestamp();
BEGIN
    RETURN (
        SELECT jsonb_strip_nulls(jsonb_build_object(
            'iss', current_setting('immiiq.jwt_issuer'),
            'sub', coalesce(s.member_id, s.client_id),
            'org', s.org_id,
            'sid', s.session_id,
            'actor', CASE WHEN s.member_id IS NULL THEN 'portal' ELSE 'member' END,
            'impersonated', CASE WHEN s.impersonated THEN true END,
            'iat', floor(extract(epoch FROM at))::bigint,
            'exp', floor(extract(epoch FROM least(at + least(ttl, interval '15 minutes'), s.expires_at)))::bigint,
            'jti', gen_random_uuid()))
        FROM immiiq.session AS s
        WHERE s.session_id = session AND s.revoked_at IS NULL AND s.expires_at > at);
END
$$;
COMMENT ON FUNCTION immiiq.session_claims(uuid, interval) IS 'the claims that every JWT of a session has';

CREATE FUNCTION immiiq.issue_jwt(claims jsonb, ttl interval DEFAULT '15 minutes') RETURNS text
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own jsonb;
    key record;
    -- What others take for the word of who signs: ours to say, or nobody's.
    reserved constant text[] := '{iss,sub,exp,nbf,iat,jti,sid,org,actor,impersonated,azp,act,may_act,cnf,nonce,scope,client_id,at_hash,c_hash,auth_time,acr,amr,events,email,email_verified}';
    audience jsonb;
BEGIN
    IF immiiq.current_actor() IS NULL OR immiiq.current_actor() NOT IN ('member', 'portal') THEN
        RAISE EXCEPTION 'only a member or a client of the portal is given a token' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF jsonb_typeof(claims) <> 'object' OR octet_length(claims::text) > 4096 THEN
        RAISE EXCEPTION 'the claims must be an object of 4096 bytes at most' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF claims ?| reserved THEN
        RAISE EXCEPTION 'a reserved claim cannot be given' USING ERRCODE = 'invalid_parameter_value',
            HINT = format('Reserved are %s.', array_to_string(reserved, ', '));
    END IF;
    IF ttl < interval '1 second' OR ttl > interval '15 minutes' THEN
        RAISE EXCEPTION 'a token lasts from one second to fifteen minutes' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    audience := claims -> 'aud';
    IF audience IS NULL OR jsonb_typeof(audience) NOT IN ('string', 'array') OR audience IN ('[]', '""')
        OR jsonb_typeof(audience) = 'array'
            AND EXISTS (SELECT FROM jsonb_array_elements(audience) AS a WHERE jsonb_typeof(a) <> 'string' OR a = '""')
    THEN
        RAISE EXCEPTION 'the claim aud must say for whom the token is' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Given to somebody else, it must not open the database.
    IF audience ?| '{immiiq,immiiq-portal}' THEN
        RAISE EXCEPTION 'this audience is immiiq''s own' USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Access tokens come with a sign-in, and with immiiq.rotate_refresh.';
    END IF;
    own := immiiq.session_claims(immiiq.current_session(), ttl);
    IF own IS NULL THEN
        RAISE EXCEPTION 'the session has ended' USING ERRCODE = 'insufficient_privilege';
    END IF;
    key := immiiq.signing_jwt_key();
    RETURN immiiq.sign_jwt(key.number, format('{"alg":"EdDSA","typ":"JWT","kid":"%s"}', key.kid), (claims || own)::text);
END
$$;
COMMENT ON FUNCTION immiiq.issue_jwt(jsonb, interval)
    IS 'a JWT of the active session for another service: these claims, and who it is; fifteen minutes at most, never longer than the session';

CREATE FUNCTION immiiq.verify_jwt(token text, audience text) RETURNS jsonb
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'immiiq_verify_jwt';
COMMENT ON FUNCTION immiiq.verify_jwt(text, text) IS 'the claims of a JWT of ours for this audience whose session lives; error IQ010 for any other token';
REVOKE ALL ON FUNCTION immiiq.session_claims(uuid, interval), immiiq.issue_jwt(jsonb, interval),
    immiiq.verify_jwt(text, text) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'EXECUTE', 'FUNCTION immiiq.issue_jwt(jsonb, interval)'),
    ('application', 'EXECUTE', 'FUNCTION immiiq.verify_jwt(text, text)');

-- ---- other issuers ----

CREATE TABLE immiiq.identity_provider (
    issuer text NOT NULL CHECK (pg_catalog.octet_length(issuer) OPERATOR(pg_catalog.<=) 1024),
    audience text NOT NULL CHECK (audience OPERATOR(pg_catalog.<>) ''),
    jwks jsonb NOT NULL,
    algorithms text[] NOT NULL DEFAULT '{RS256,ES256,EdDSA}'
        CHECK (algorithms OPERATOR(pg_catalog.<@) '{RS256,ES256,EdDSA}' AND pg_catalog.cardinality(algorithms) OPERATOR(pg_catalog.>) 0),
    active boolean NOT NULL DEFAULT true,
    updated_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (issuer, audience)
);
COMMENT ON TABLE immiiq.identity_provider IS 'whose ID tokens are taken: the DBA stores issuer, our client id there, and the key set, and renews it';
COMMENT ON COLUMN immiiq.identity_provider.audience IS 'our client id at this issuer';
REVOKE ALL ON immiiq.identity_provider FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.identity_provider', '');

CREATE FUNCTION immiiq.check_identity_provider() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    problem constant text := immiiq.jwks_problem(NEW.jwks::text);
BEGIN
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'the key set %', problem USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.jwks <> OLD.jwks THEN
        NEW.updated_at := clock_timestamp();
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION immiiq.check_identity_provider() IS 'trigger: a key set has public keys for verifying, and no two of one name';
REVOKE ALL ON FUNCTION immiiq.check_identity_provider() FROM PUBLIC;
CREATE TRIGGER check_identity_provider BEFORE INSERT OR UPDATE ON immiiq.identity_provider
    FOR EACH ROW EXECUTE FUNCTION immiiq.check_identity_provider();

CREATE TABLE immiiq.external_identity (
    org_id uuid NOT NULL,
    member_id uuid NOT NULL,
    issuer text NOT NULL,
    subject text NOT NULL,
    linked_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (issuer, subject, org_id),
    UNIQUE (org_id, member_id, issuer),
    FOREIGN KEY (org_id, member_id) REFERENCES immiiq.member (org_id, member_id) ON DELETE CASCADE
);
COMMENT ON TABLE immiiq.external_identity IS 'which account at another issuer signs a member in; e-mail addresses play no part';
REVOKE ALL ON immiiq.external_identity FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.external_identity', '');
CREATE TRIGGER "00_immiiq_capture" AFTER INSERT OR UPDATE OR DELETE ON immiiq.external_identity
    FOR EACH ROW EXECUTE FUNCTION immiiq.capture();
ALTER TABLE immiiq.external_identity ENABLE ALWAYS TRIGGER "00_immiiq_capture";

-- An ID token signs in once. What is signed is hashed, not the signature, which may have a second form.
CREATE TABLE immiiq.used_id_token (
    digest bytea NOT NULL PRIMARY KEY,
    used_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE immiiq.used_id_token IS 'SHA-256 of ID tokens that were used, until they are too old anyway';
CREATE INDEX used_id_token_used_idx ON immiiq.used_id_token (used_at);
REVOKE ALL ON immiiq.used_id_token FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.used_id_token', '');

CREATE FUNCTION immiiq.check_id_token(token text, nonce text, OUT issuer text, OUT subject text, OUT reason text)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    claimed constant text := immiiq.read_id_token(token);
    provider immiiq.identity_provider;
    checked record;
BEGIN
    reason := CASE WHEN claimed IS NULL THEN 'malformed' ELSE 'unknown issuer' END;
    FOR provider IN SELECT p.* FROM immiiq.identity_provider AS p WHERE p.issuer = claimed AND p.active ORDER BY p.audience LOOP
        checked := immiiq.verify_id_token(token, provider.issuer, provider.audience, provider.jwks::text, provider.algorithms);
        reason := checked.reason;
        EXIT WHEN reason IS NULL;
    END LOOP;
    IF reason IS NOT NULL THEN
        RETURN;
    END IF;
    reason := CASE
        WHEN coalesce(jsonb_typeof(checked.claims -> 'sub') <> 'string' OR checked.claims ->> 'sub' = ''
            OR octet_length(checked.claims ->> 'sub') > 1024, true) THEN 'no subject'
        WHEN coalesce(octet_length(nonce) < 16 OR jsonb_typeof(checked.claims -> 'nonce') <> 'string'
            OR NOT immiiq.same_bytes(convert_to(checked.claims ->> 'nonce', 'UTF8'), convert_to(nonce, 'UTF8')), true) THEN 'another nonce'
        WHEN (checked.claims ->> 'iat')::numeric < extract(epoch FROM clock_timestamp() - interval '11 minutes') THEN 'too old' END;
    IF reason IS NOT NULL THEN
        RETURN;
    END IF;
    DELETE FROM immiiq.used_id_token AS u WHERE u.used_at < clock_timestamp() - interval '1 hour';
    INSERT INTO immiiq.used_id_token (digest)
    VALUES (sha256(convert_to(split_part(token, '.', 1) || '.' || split_part(token, '.', 2), 'UTF8')))
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        reason := 'used';
        RETURN;
    END IF;
    issuer := claimed;
    subject := checked.claims ->> 'sub';
END
$$;
COMMENT ON FUNCTION immiiq.check_id_token(text, text) IS 'whose ID token it is, once, or the reason why it is refused';

CREATE FUNCTION immiiq.link_identity(id_token text, nonce text) RETURNS text
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    account record;
    checked record;
BEGIN
    SELECT s.org_id, s.member_id, s.impersonated, s.client_ip, s.user_agent, m.email,
           s.issued_at > clock_timestamp() - interval '10 minutes' AS fresh INTO account
    FROM immiiq.session AS s JOIN immiiq.member AS m ON m.org_id = s.org_id AND m.member_id = s.member_id
    WHERE s.session_id = immiiq.current_session();
    IF NOT FOUND OR immiiq.current_actor() <> 'member' OR account.impersonated THEN
        RAISE EXCEPTION 'only a member who has signed in can link an account' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NOT account.fresh THEN
        RAISE EXCEPTION 'an account is linked within ten minutes of a sign-in' USING ERRCODE = 'insufficient_privilege',
            HINT = 'Sign in again, and link it then.';
    END IF;
    checked := immiiq.check_id_token(id_token, nonce);
    IF checked.reason IS NOT NULL
        OR EXISTS (SELECT FROM immiiq.external_identity AS e
                   WHERE e.issuer = checked.issuer AND e.subject = checked.subject AND e.org_id = account.org_id
                       AND e.member_id <> account.member_id)
    THEN
        PERFORM immiiq.refuse_sign_in(immiiq.begin_sign_in('link-identity', immiiq.sign_in_identifier(account.email), account.client_ip,
                                                           account.user_agent, NULL, NULL),
            coalesce(checked.reason, 'linked to somebody else'), account.org_id, account.member_id, NULL, immiiq.current_session());
        RETURN 'denied';
    END IF;
    INSERT INTO immiiq.external_identity AS e (org_id, member_id, issuer, subject)
    VALUES (account.org_id, account.member_id, checked.issuer, checked.subject)
    ON CONFLICT ON CONSTRAINT external_identity_org_id_member_id_issuer_key
    DO UPDATE SET subject = excluded.subject, linked_at = excluded.linked_at WHERE e.subject <> excluded.subject;
    RETURN 'ok';
END
$$;
COMMENT ON FUNCTION immiiq.link_identity(text, text)
    IS 'lets the account of an ID token sign the active member in, within ten minutes of the member''s sign-in; ok or denied';

CREATE FUNCTION immiiq.unlink_identity(issuer text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF immiiq.current_actor() IS DISTINCT FROM 'member' THEN
        RAISE EXCEPTION 'only a member can unlink an account' USING ERRCODE = 'insufficient_privilege';
    END IF;
    DELETE FROM immiiq.external_identity AS e
    WHERE e.org_id = immiiq.current_org() AND e.member_id = immiiq.current_member() AND e.issuer = unlink_identity.issuer;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION immiiq.unlink_identity(text) IS 'the active member''s account at this issuer signs in no more; false when there was none';

CREATE FUNCTION immiiq.sign_in_identity(id_token text, nonce text, org uuid DEFAULT NULL, ip inet DEFAULT NULL, user_agent text DEFAULT NULL,
                                        device text DEFAULT NULL, country text DEFAULT NULL) RETURNS immiiq.sign_in_result
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    attempt immiiq.sign_in_context := immiiq.begin_sign_in('identity', NULL, ip, user_agent, device, country);
    wait interval;
    checked record;
    account record;
    reason text;
BEGIN
    IF attempt.network IS NOT NULL THEN
        wait := immiiq.throttle_reserve(ARRAY['network'], ARRAY[convert_to(attempt.network::text, 'UTF8')]);
        IF wait IS NOT NULL THEN
            RETURN immiiq.throttle_sign_in(attempt, wait);
        END IF;
    END IF;
    checked := immiiq.check_id_token(id_token, nonce);
    -- Of several memberships the one that is named, else the one that was linked first.
    SELECT e.org_id, e.member_id, m.email, m.active AND o.active AS active, immiiq.address_allowed(e.org_id, ip) AS allowed INTO account
    FROM immiiq.external_identity AS e JOIN immiiq.member AS m ON m.org_id = e.org_id AND m.member_id = e.member_id
        JOIN immiiq.org AS o ON o.org_id = e.org_id
    WHERE e.issuer = checked.issuer AND e.subject = checked.subject AND (org IS NULL OR e.org_id = org)
    ORDER BY e.linked_at, e.org_id
    LIMIT 1;
    reason := coalesce(checked.reason,
        CASE WHEN account.member_id IS NULL THEN 'not linked'
             WHEN NOT account.active THEN 'not active'
             WHEN NOT account.allowed THEN 'address not allowed' END);
    IF attempt.network IS NOT NULL THEN
        PERFORM immiiq.throttle_settle(reason IS NOT NULL);
    END IF;
    IF account.member_id IS NOT NULL THEN
        attempt := immiiq.begin_sign_in('identity', immiiq.sign_in_identifier(account.email), ip, user_agent, device, country);
    END IF;
    IF reason IS NOT NULL THEN
        RETURN immiiq.refuse_sign_in(attempt, reason, account.org_id, account.member_id, NULL, NULL);
    END IF;
    RETURN immiiq.open_session(attempt, account.org_id, account.member_id, NULL);
END
$$;
COMMENT ON FUNCTION immiiq.sign_in_identity(text, text, uuid, inet, text, text, text)
    IS 'a session for the member to whom an ID token''s account is linked; the token is verified here, and used once';
REVOKE ALL ON FUNCTION immiiq.check_id_token(text, text), immiiq.link_identity(text, text), immiiq.unlink_identity(text),
    immiiq.sign_in_identity(text, text, uuid, inet, text, text, text) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'EXECUTE', 'FUNCTION immiiq.link_identity(text, text)'),
    ('application', 'EXECUTE', 'FUNCTION immiiq.unlink_identity(text)'),
    ('application', 'EXECUTE', 'FUNCTION immiiq.sign_in_identity(text, text, uuid, inet, text, text, text)');
