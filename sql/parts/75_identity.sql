-- Sign-in: links and codes, passwords, sessions, refresh tokens, throttling, allowlists, the portal.
-- Expected refusals are rows, not errors; the reason goes to immiiq.sign_in_attempt alone.
-- What is looked up is looked up by key: the hot functions plan once (plan_cache_mode), and take the same time for everybody.

-- ---- what C does (identity.c, throttle.c, password.c); for the functions below only ----

CREATE FUNCTION immiiq.new_token(kind text) RETURNS text
    LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'immiiq_new_token';
COMMENT ON FUNCTION immiiq.new_token(text) IS 'a token of 32 random bytes';
CREATE FUNCTION immiiq.derive_token(kind text, data bytea) RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'immiiq_derive_token';
COMMENT ON FUNCTION immiiq.derive_token(text, bytea) IS 'the token that belongs to data, under the installation key: it need not be stored';
CREATE FUNCTION immiiq.token_digest(kinds text, token text) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_token_digest';
COMMENT ON FUNCTION immiiq.token_digest(text, text) IS 'SHA-256 of a token as tables store it; null for anything else';
CREATE FUNCTION immiiq.keyed_hash(label text, data bytea) RETURNS bytea
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'immiiq_keyed_hash';
COMMENT ON FUNCTION immiiq.keyed_hash(text, bytea) IS 'HMAC-SHA256 under the installation key, by label';
CREATE FUNCTION immiiq.same_bytes(a bytea, b bytea) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_same_bytes';
COMMENT ON FUNCTION immiiq.same_bytes(bytea, bytea) IS 'compares in constant time';
CREATE FUNCTION immiiq.answer_at(since timestamptz, after interval) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'immiiq_answer_at';
COMMENT ON FUNCTION immiiq.answer_at(timestamptz, interval) IS 'returns when this long has passed since then, so that the time tells nothing of the work';
CREATE FUNCTION immiiq.report_sign_in(method text, verdict text, reason text, details text, org uuid, member uuid, session uuid,
                                      ip inet, user_agent text) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_report_sign_in';
COMMENT ON FUNCTION immiiq.report_sign_in(text, text, text, text, uuid, uuid, uuid, inet, text)
    IS 'hands an attempt to the worker, which writes it whatever becomes of the transaction';
CREATE FUNCTION immiiq.throttle_reserve(classes text[], keys bytea[]) RETURNS interval
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_throttle_reserve';
COMMENT ON FUNCTION immiiq.throttle_reserve(text[], bytea[]) IS 'reserves an attempt in each bucket; how long to wait where one is locked';
CREATE FUNCTION immiiq.throttle_settle(failed boolean) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_throttle_settle';
COMMENT ON FUNCTION immiiq.throttle_settle(boolean) IS 'counts what was reserved as failed, or gives it back';
CREATE FUNCTION immiiq.throttle_forget(class text, key bytea) RETURNS boolean
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_throttle_forget';
COMMENT ON FUNCTION immiiq.throttle_forget(text, bytea) IS 'unlocks a bucket';
CREATE FUNCTION immiiq.issue_access_token(session uuid) RETURNS text
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_issue_access_token';
COMMENT ON FUNCTION immiiq.issue_access_token(uuid) IS 'a JWT that immiiq.token takes for this session, for fifteen minutes at most; null when it has ended';
CREATE FUNCTION immiiq.session_owner(session uuid, ip inet, OUT org_id uuid, OUT member_id uuid, OUT expires_at timestamptz,
                                     OUT active boolean, OUT allowed boolean) RETURNS record
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'immiiq_session_owner';
COMMENT ON FUNCTION immiiq.session_owner(uuid, inet) IS 'whose session it is, whether it can be used, and from this address (null: that of the sign-in)';
CREATE FUNCTION immiiq.acting_email(org uuid, member uuid) RETURNS text
    LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'immiiq_acting_email';
COMMENT ON FUNCTION immiiq.acting_email(uuid, uuid) IS 'the address of a member who is active in an active organisation, else null';
CREATE FUNCTION immiiq.hash_password(password text) RETURNS text
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_hash_password';
COMMENT ON FUNCTION immiiq.hash_password(text) IS 'Argon2id at 19 MiB, 2 passes';
CREATE FUNCTION immiiq.verify_password(hash text, password text) RETURNS boolean
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_verify_password';
COMMENT ON FUNCTION immiiq.verify_password(text, text) IS 'true when the password is that of an Argon2id or bcrypt hash';
CREATE FUNCTION immiiq.password_kind(hash text) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_password_kind';
COMMENT ON FUNCTION immiiq.password_kind(text) IS 'argon2id, argon2id-other (to be made anew), bcrypt, or null for what is refused';
CREATE FUNCTION immiiq.current_session() RETURNS uuid
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_current_session';
COMMENT ON FUNCTION immiiq.current_session() IS 'the active session, null for operators and when nobody is active';
CREATE FUNCTION immiiq.current_client() RETURNS uuid
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_current_client';
COMMENT ON FUNCTION immiiq.current_client() IS 'the client of the active portal session, null for everybody else';

REVOKE ALL ON FUNCTION immiiq.new_token(text), immiiq.derive_token(text, bytea), immiiq.token_digest(text, text),
    immiiq.keyed_hash(text, bytea), immiiq.same_bytes(bytea, bytea), immiiq.answer_at(timestamptz, interval),
    immiiq.report_sign_in(text, text, text, text, uuid, uuid, uuid, inet, text),
    immiiq.throttle_reserve(text[], bytea[]), immiiq.throttle_settle(boolean), immiiq.throttle_forget(text, bytea),
    immiiq.issue_access_token(uuid), immiiq.session_owner(uuid, inet), immiiq.acting_email(uuid, uuid),
    immiiq.hash_password(text), immiiq.verify_password(text, text), immiiq.password_kind(text) FROM PUBLIC;

-- ---- addresses ----

CREATE FUNCTION immiiq.plain_address(ip inet) RETURNS inet
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_plain_address';
COMMENT ON FUNCTION immiiq.plain_address(inet) IS 'an address without netmask, an IPv4 address written as IPv6 as IPv4';
CREATE FUNCTION immiiq.network_of(ip inet) RETURNS cidr
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_network_of';
COMMENT ON FUNCTION immiiq.network_of(inet) IS 'what is throttled as one: an IPv4 address, an IPv6 /64';
REVOKE ALL ON FUNCTION immiiq.plain_address(inet), immiiq.network_of(inet) FROM PUBLIC;

CREATE FUNCTION immiiq.client_ip(peer inet, forwarded text[], trusted cidr[]) RETURNS inet
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    address inet := immiiq.plain_address(peer);
    said text[];
    hop text;
BEGIN
    -- Each element may be a whole header: the hops of all of them, in order.
    said := regexp_split_to_array(array_to_string(forwarded, ','), '\s*,\s*');
    FOR i IN REVERSE coalesce(array_length(said, 1), 0) .. 1 LOOP
        EXIT WHEN NOT EXISTS (SELECT FROM unnest(trusted) AS t (network) WHERE address <<= t.network);
        hop := btrim(said[i]);
        -- [v6]:port, v4:port, or an address alone.
        hop := coalesce(substring(hop FROM '^\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?$'),
                        substring(hop FROM '^([0-9]+\.[0-9]+\.[0-9]+\.[0-9]+)(?::[0-9]{1,5})?$'),
                        substring(hop FROM '^([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$'));
        EXIT WHEN hop IS NULL;
        BEGIN
            address := immiiq.plain_address(hop::inet);
        EXCEPTION WHEN invalid_text_representation THEN
            EXIT;
        END;
    END LOOP;
    RETURN address;
END
$$;
COMMENT ON FUNCTION immiiq.client_ip(inet, text[], cidr[])
    IS 'the client''s address: from the peer back through X-Forwarded-For, as long as the hops are trusted proxies';
REVOKE ALL ON FUNCTION immiiq.client_ip(inet, text[], cidr[]) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'EXECUTE', 'FUNCTION immiiq.client_ip(inet, text[], cidr[])'),
    ('application', 'EXECUTE', 'FUNCTION immiiq.plain_address(inet)');

-- The DBA loads ranges from any list; they must not overlap.
CREATE TABLE immiiq.ip_country (
    first inet NOT NULL PRIMARY KEY,
    last inet NOT NULL,
    country text NOT NULL CHECK (country OPERATOR(pg_catalog.~) '^[A-Z]{2}$'),
    CHECK (first OPERATOR(pg_catalog.<=) last AND pg_catalog.family(first) OPERATOR(pg_catalog.=) pg_catalog.family(last))
);
COMMENT ON TABLE immiiq.ip_country IS 'ranges of addresses and their country (ISO 3166-1 alpha-2), loaded by the DBA';
REVOKE ALL ON immiiq.ip_country FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.ip_country', '');

CREATE FUNCTION immiiq.country_of(ip inet, told text) RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    address inet;
    found record;
BEGIN
    IF told ~ '^[A-Za-z]{2}$' THEN
        RETURN upper(told);
    END IF;
    address := immiiq.plain_address(ip);
    IF address IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT c.last, c.country INTO found FROM immiiq.ip_country AS c WHERE c.first <= address ORDER BY c.first DESC LIMIT 1;
    RETURN CASE WHEN address <= found.last THEN found.country END;
END
$$;
COMMENT ON FUNCTION immiiq.country_of(inet, text) IS 'the country that the tier told, or that of the address in immiiq.ip_country';
REVOKE ALL ON FUNCTION immiiq.country_of(inet, text) FROM PUBLIC;

-- ---- the allowlist ----

-- C reads the columns by position (session.c): append, never reorder.
CREATE TABLE immiiq.ip_rule (
    org_id uuid NOT NULL DEFAULT immiiq.current_org() REFERENCES immiiq.org,
    ip_rule_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    network cidr NOT NULL CHECK (NOT network OPERATOR(pg_catalog.<<=) inet '::ffff:0:0/96'),
    note text,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (org_id, ip_rule_id)
);
COMMENT ON TABLE immiiq.ip_rule IS 'networks from which members of an organisation may come; none: from everywhere';
REVOKE ALL ON immiiq.ip_rule FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.ip_rule', '');

CREATE POLICY immiiq_select ON immiiq.ip_rule FOR SELECT
    USING (immiiq.visible('settings', 'select', org_id, NULL, NULL, NULL, NULL));
CREATE POLICY immiiq_insert ON immiiq.ip_rule FOR INSERT
    WITH CHECK (immiiq.visible('settings', 'insert', org_id, NULL, NULL, NULL, NULL));
CREATE POLICY immiiq_update ON immiiq.ip_rule FOR UPDATE
    USING (immiiq.visible('settings', 'update', org_id, NULL, NULL, NULL, NULL))
    WITH CHECK (immiiq.visible('settings', 'update', org_id, NULL, NULL, NULL, NULL));
CREATE POLICY immiiq_delete ON immiiq.ip_rule FOR DELETE
    USING (immiiq.visible('settings', 'delete', org_id, NULL, NULL, NULL, NULL));
ALTER TABLE immiiq.ip_rule ENABLE ROW LEVEL SECURITY;
ALTER TABLE immiiq.ip_rule FORCE ROW LEVEL SECURITY;
CREATE TRIGGER "00_immiiq_capture" AFTER INSERT OR UPDATE OR DELETE ON immiiq.ip_rule
    FOR EACH ROW EXECUTE FUNCTION immiiq.capture();
ALTER TABLE immiiq.ip_rule ENABLE ALWAYS TRIGGER "00_immiiq_capture";
CREATE TRIGGER immiiq_truncate BEFORE TRUNCATE ON immiiq.ip_rule
    FOR EACH STATEMENT EXECUTE FUNCTION immiiq.refuse_truncate();
ALTER TABLE immiiq.ip_rule ENABLE ALWAYS TRIGGER immiiq_truncate;
INSERT INTO immiiq.privilege VALUES
    ('application', 'SELECT, INSERT, UPDATE, DELETE', 'TABLE immiiq.ip_rule'),
    ('operator', 'SELECT, INSERT, UPDATE, DELETE', 'TABLE immiiq.ip_rule');

CREATE FUNCTION immiiq.address_allowed(org uuid, ip inet) RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_address_allowed';
COMMENT ON FUNCTION immiiq.address_allowed(uuid, inet) IS 'true when the organisation has no allowlist, or it holds the address';
REVOKE ALL ON FUNCTION immiiq.address_allowed(uuid, inet) FROM PUBLIC;

CREATE FUNCTION immiiq.refuse_lockout() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Of members only: operators are not bound by the list.
    IF immiiq.current_member() IS NOT NULL AND NOT immiiq.address_allowed(immiiq.current_org(), immiiq.current_address()) THEN
        RAISE EXCEPTION 'the allowlist would lock out who changes it' USING ERRCODE = 'check_violation',
            HINT = 'Add a network that holds your own address first.';
    END IF;
    RETURN NULL;
END
$$;
CREATE FUNCTION immiiq.current_address() RETURNS inet
    LANGUAGE c STABLE PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'immiiq_current_address';
COMMENT ON FUNCTION immiiq.current_address() IS 'the address that the tier said in this transaction, else that of the session''s sign-in';
COMMENT ON FUNCTION immiiq.refuse_lockout() IS 'trigger: no change of the allowlist locks out its author';
REVOKE ALL ON FUNCTION immiiq.refuse_lockout(), immiiq.current_address() FROM PUBLIC;
CREATE TRIGGER refuse_lockout AFTER INSERT OR UPDATE OR DELETE ON immiiq.ip_rule
    FOR EACH STATEMENT EXECUTE FUNCTION immiiq.refuse_lockout();

-- ---- attempts ----

CREATE TABLE immiiq.sign_in_attempt (
    attempt_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    method text NOT NULL,
    verdict text NOT NULL CHECK (verdict IN ('ok', 'denied', 'throttled')),
    reason text,
    identifier bytea,
    known_device boolean NOT NULL DEFAULT false,
    device bytea,
    org_id uuid,
    member_id uuid,
    client_id uuid,
    session_id uuid,
    client_ip inet,
    network cidr,
    country text,
    user_agent text
);
COMMENT ON TABLE immiiq.sign_in_attempt IS 'every attempt to sign in, with its reason; append-only';
COMMENT ON COLUMN immiiq.sign_in_attempt.identifier IS 'keyed hash of the e-mail address that was said';
CREATE INDEX sign_in_attempt_member_idx ON immiiq.sign_in_attempt (org_id, member_id, at);
CREATE INDEX sign_in_attempt_address_idx ON immiiq.sign_in_attempt (client_ip) WHERE client_ip IS NOT NULL;
CREATE INDEX sign_in_attempt_session_idx ON immiiq.sign_in_attempt (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX sign_in_attempt_client_idx ON immiiq.sign_in_attempt (client_id) WHERE client_id IS NOT NULL;
CREATE INDEX sign_in_attempt_at_idx ON immiiq.sign_in_attempt USING brin (at);
REVOKE ALL ON immiiq.sign_in_attempt FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.sign_in_attempt', '');
SELECT pg_catalog.pg_extension_config_dump('immiiq.sign_in_attempt_attempt_id_seq', '');
CREATE TRIGGER sign_in_attempt_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON immiiq.sign_in_attempt
    FOR EACH STATEMENT EXECUTE FUNCTION immiiq.refuse_change();
ALTER TABLE immiiq.sign_in_attempt ENABLE ALWAYS TRIGGER sign_in_attempt_append_only;
INSERT INTO immiiq.privilege VALUES ('auditor', 'SELECT', 'TABLE immiiq.sign_in_attempt');

-- A member's session is said only where it was opened: an attempt that failed was not the member's.
CREATE FUNCTION immiiq.log_sign_in() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    opened constant boolean := NEW.verdict = 'ok' AND NEW.session_id IS NOT NULL;
    recorded boolean;
BEGIN
    recorded := immiiq.record_event_of('sign-in', NEW.org_id, NEW.client_id, coalesce(NEW.member_id, NEW.client_id)::text,
        jsonb_strip_nulls(jsonb_build_object('attempt_id', NEW.attempt_id, 'method', NEW.method, 'verdict', NEW.verdict, 'reason', NEW.reason,
            'session_id', NEW.session_id, 'known_device', NEW.known_device, 'country', NEW.country)),
        NEW.at, CASE WHEN opened THEN CASE WHEN NEW.member_id IS NULL THEN 'portal' ELSE 'member' END END,
        CASE WHEN opened THEN NEW.member_id END, CASE WHEN opened THEN NEW.session_id END, NULL, host(NEW.client_ip), NEW.user_agent, NULL);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION immiiq.log_sign_in() IS 'trigger of immiiq.sign_in_attempt: every attempt is an event of the log';
REVOKE ALL ON FUNCTION immiiq.log_sign_in() FROM PUBLIC;
CREATE TRIGGER log_sign_in AFTER INSERT ON immiiq.sign_in_attempt FOR EACH ROW EXECUTE FUNCTION immiiq.log_sign_in();
ALTER TABLE immiiq.sign_in_attempt ENABLE ALWAYS TRIGGER log_sign_in;

-- For throttle.c after a start of the server; the keys are as the functions below make them.
CREATE FUNCTION immiiq.throttled_failures() RETURNS TABLE (class text, key bytea, at timestamptz)
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT b.class, b.key, a.at
    FROM immiiq.sign_in_attempt AS a
        CROSS JOIN LATERAL (VALUES
            ('account', a.identifier, a.method = 'password' AND a.verdict = 'denied' AND NOT a.known_device),
            ('device', a.identifier || a.device, a.method = 'password' AND a.verdict = 'denied' AND a.known_device),
            ('network', convert_to(a.network::text, 'UTF8'), a.method IN ('password', 'code', 'identity') AND a.verdict = 'denied' AND NOT a.known_device),
            ('code', a.identifier, a.method = 'code' AND a.verdict = 'denied'),
            ('issue', a.identifier, a.method = 'issue' AND a.verdict = 'ok' AND NOT a.known_device),
            ('issue-device', a.identifier || a.device, a.method = 'issue' AND a.verdict = 'ok' AND a.known_device),
            ('issue-network', convert_to(a.network::text, 'UTF8'), a.method = 'issue' AND a.verdict = 'ok' AND NOT a.known_device)
        ) AS b (class, key, counts)
    WHERE a.at > clock_timestamp() - interval '2 hours' AND b.counts AND b.key IS NOT NULL
        -- What an operator has unlocked stays so.
        AND (b.class NOT IN ('account', 'code', 'issue')
             OR a.at > ALL (SELECT u.at FROM immiiq.sign_in_attempt AS u
                            WHERE u.method = 'unlock' AND u.identifier = a.identifier AND u.at > clock_timestamp() - interval '2 hours'))
$$;
COMMENT ON FUNCTION immiiq.throttled_failures() IS 'the attempts of the last two hours that count, and in which bucket';
REVOKE ALL ON FUNCTION immiiq.throttled_failures() FROM PUBLIC;

-- Who reads what, as branches that the index serves: auditors all, some members their organisation's, everybody their own.
CREATE VIEW immiiq.sign_in_log WITH (security_barrier) AS
    SELECT a.attempt_id, a.at, a.org_id, a.member_id, a.client_id, a.session_id, a.method, a.verdict, a.reason,
           a.device, a.known_device, a.country, a.client_ip, a.user_agent
    FROM (
        SELECT * FROM immiiq.sign_in_attempt WHERE immiiq.journal_reader()
        UNION ALL
        SELECT * FROM immiiq.sign_in_attempt WHERE NOT immiiq.journal_reader() AND org_id OPERATOR(pg_catalog.=) immiiq.journal_org()
        UNION ALL
        SELECT * FROM immiiq.sign_in_attempt
        WHERE NOT immiiq.journal_reader() AND immiiq.journal_org() IS NULL
            AND org_id OPERATOR(pg_catalog.=) immiiq.current_org() AND member_id OPERATOR(pg_catalog.=) immiiq.current_member()
    ) AS a;
COMMENT ON VIEW immiiq.sign_in_log IS 'attempts to sign in: one''s own, and the organisation''s for members with scope all and the module reports';
REVOKE ALL ON immiiq.sign_in_log FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'SELECT', 'TABLE immiiq.sign_in_log'),
    ('auditor', 'SELECT', 'TABLE immiiq.sign_in_log');

-- ---- sessions and devices ----

-- One active session a member, and one a client of the portal; those that issue_session made stand beside.
CREATE UNIQUE INDEX session_one_member_key ON immiiq.session (org_id, member_id)
    WHERE revoked_at IS NULL AND NOT impersonated AND member_id IS NOT NULL;
CREATE UNIQUE INDEX session_one_client_key ON immiiq.session (org_id, client_id)
    WHERE revoked_at IS NULL AND client_id IS NOT NULL;
CREATE TRIGGER "00_immiiq_capture" AFTER INSERT OR UPDATE OR DELETE ON immiiq.session
    FOR EACH ROW EXECUTE FUNCTION immiiq.capture();
ALTER TABLE immiiq.session ENABLE ALWAYS TRIGGER "00_immiiq_capture";

CREATE TABLE immiiq.known_device (
    org_id uuid NOT NULL,
    member_id uuid NOT NULL,
    device bytea NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    last_seen_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    user_agent text,
    PRIMARY KEY (device, org_id, member_id),
    FOREIGN KEY (org_id, member_id) REFERENCES immiiq.member (org_id, member_id) ON DELETE CASCADE
);
COMMENT ON TABLE immiiq.known_device IS 'browsers from which a member has signed in, by keyed hash';
CREATE INDEX known_device_member_idx ON immiiq.known_device (org_id, member_id);
REVOKE ALL ON immiiq.known_device FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.known_device', '');

CREATE TABLE immiiq.refresh_token (
    token_hash bytea NOT NULL PRIMARY KEY CHECK (pg_catalog.octet_length(token_hash) OPERATOR(pg_catalog.=) 32),
    session_id uuid NOT NULL REFERENCES immiiq.session ON DELETE CASCADE,
    counter bigint NOT NULL,
    issued_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    used_at timestamptz,
    UNIQUE (session_id, counter)
) WITH (fillfactor = 70);
CREATE INDEX refresh_token_issued_idx ON immiiq.refresh_token USING brin (issued_at);
COMMENT ON TABLE immiiq.refresh_token IS 'refresh tokens of a session, used ones too: a token is stored as its SHA-256 only';
REVOKE ALL ON immiiq.refresh_token FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.refresh_token', '');

CREATE TYPE immiiq.sign_in_result AS (
    verdict text,
    retry_after interval,
    org_id uuid,
    member_id uuid,
    client_id uuid,
    session_id uuid,
    session_token text,
    refresh_token text,
    access_token text,
    expires_at timestamptz
);
COMMENT ON TYPE immiiq.sign_in_result IS 'ok, denied or throttled; the rest is null unless it is ok';

CREATE FUNCTION immiiq.sign_in_identifier(email text) RETURNS bytea
    LANGUAGE sql STABLE PARALLEL RESTRICTED
    RETURN pg_catalog.substr(immiiq.keyed_hash('identifier',
        pg_catalog.convert_to(pg_catalog.lower(pg_catalog.btrim(pg_catalog."left"(coalesce(email, ''), 320))), 'UTF8')), 1, 16);
COMMENT ON FUNCTION immiiq.sign_in_identifier(text) IS 'keyed hash of an e-mail address';

CREATE FUNCTION immiiq.sign_in_device(identifier bytea, device text) RETURNS bytea
    LANGUAGE sql STABLE PARALLEL RESTRICTED
    RETURN CASE WHEN device OPERATOR(pg_catalog.<>) '' THEN pg_catalog.substr(immiiq.keyed_hash('device',
        identifier OPERATOR(pg_catalog.||) pg_catalog.convert_to(pg_catalog."left"(device, 512), 'UTF8')), 1, 16) END;
COMMENT ON FUNCTION immiiq.sign_in_device(bytea, text) IS 'keyed hash of what a browser is known by, of one e-mail address';

-- One attempt as the functions below pass it along.
CREATE TYPE immiiq.sign_in_context AS (
    method text,
    identifier bytea,
    device bytea,
    known_device boolean,
    ip inet,
    network cidr,
    user_agent text,
    country text
);
COMMENT ON TYPE immiiq.sign_in_context IS 'who tries to sign in, from where';

CREATE FUNCTION immiiq.begin_sign_in(method text, identifier bytea, ip inet, user_agent text, device text, country text)
    RETURNS immiiq.sign_in_context
    LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    result immiiq.sign_in_context;
BEGIN
    result.method := method;
    result.identifier := identifier;
    result.device := immiiq.sign_in_device(identifier, device);
    result.known_device := false;
    IF result.device IS NOT NULL THEN
        result.known_device := EXISTS (SELECT FROM immiiq.known_device AS d WHERE d.device = result.device);
    END IF;
    result.ip := immiiq.plain_address(ip);
    result.network := immiiq.network_of(ip);
    -- What a browser says of itself is kept without control characters, and not without end.
    result.user_agent := left(regexp_replace(user_agent, '[[:cntrl:]]', '?', 'g'), 255);
    IF ip IS NOT NULL OR country IS NOT NULL THEN
        result.country := immiiq.country_of(ip, country);
    END IF;
    RETURN result;
END
$$;
COMMENT ON FUNCTION immiiq.begin_sign_in(text, bytea, inet, text, text, text) IS 'what is known of an attempt before it is checked';

CREATE FUNCTION immiiq.refuse_sign_in(attempt immiiq.sign_in_context, reason text, org uuid, member uuid, client uuid, session uuid)
    RETURNS immiiq.sign_in_result
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    result immiiq.sign_in_result;
    written boolean;
BEGIN
    written := immiiq.report_sign_in(attempt.method, 'denied', reason, immiiq.sign_in_details(attempt, client), org, member, session,
                                     attempt.ip, attempt.user_agent);
    -- Without a worker at least this transaction keeps what must not be lost.
    IF NOT written AND reason = 'refresh token used again' THEN
        PERFORM immiiq.end_session(session, reason);
    END IF;
    result.verdict := 'denied';
    RETURN result;
END
$$;
COMMENT ON FUNCTION immiiq.refuse_sign_in(immiiq.sign_in_context, text, uuid, uuid, uuid, uuid) IS 'records a refusal that outlives a rollback; the answer tells no reason';

CREATE FUNCTION immiiq.sign_in_details(attempt immiiq.sign_in_context, client uuid) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT concat_ws(':', coalesce(encode(attempt.identifier, 'hex'), '-'), coalesce(encode(attempt.device, 'hex'), '-'),
                           CASE WHEN attempt.known_device THEN '1' ELSE '0' END, coalesce(attempt.country, '-'),
                           coalesce(client::text, '-')) $$;
COMMENT ON FUNCTION immiiq.sign_in_details(immiiq.sign_in_context, uuid) IS 'what the journal carries of an attempt to immiiq.take_sign_in';

CREATE FUNCTION immiiq.throttle_sign_in(attempt immiiq.sign_in_context, retry_after interval) RETURNS immiiq.sign_in_result
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    result immiiq.sign_in_result;
BEGIN
    PERFORM immiiq.report_sign_in(attempt.method, 'throttled', 'too many attempts', immiiq.sign_in_details(attempt, NULL), NULL, NULL, NULL,
                                  attempt.ip, attempt.user_agent);
    result.verdict := 'throttled';
    result.retry_after := retry_after;
    RETURN result;
END
$$;
COMMENT ON FUNCTION immiiq.throttle_sign_in(immiiq.sign_in_context, interval) IS 'records that an attempt was not even checked';

CREATE FUNCTION immiiq.end_session(session uuid, reason text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE immiiq.session AS s SET revoked_at = clock_timestamp(), revoked_reason = end_session.reason
    WHERE s.session_id = end_session.session AND s.revoked_at IS NULL;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION immiiq.end_session(uuid, text) IS 'revokes one session; false when it had ended';

-- Ends the member's (or client's) session and makes the next one. For sign_in_identity, too.
CREATE FUNCTION immiiq.open_session(attempt immiiq.sign_in_context, org uuid, member uuid, client uuid) RETURNS immiiq.sign_in_result
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    result immiiq.sign_in_result;
    made timestamptz;
    ttl constant interval := make_interval(secs => extract(epoch FROM current_setting('immiiq.session_ttl')::interval)::double precision);
BEGIN
    result.session_id := gen_random_uuid();
    result.session_token := immiiq.new_token(CASE WHEN client IS NULL THEN 's' ELSE 'p' END);
    IF client IS NULL THEN
        -- One at a time, so that the unique index has nothing to say.
        PERFORM FROM immiiq.member AS m WHERE m.org_id = org AND m.member_id = member FOR NO KEY UPDATE;
    END IF;
    LOOP
        IF client IS NULL THEN
            UPDATE immiiq.session AS s SET revoked_at = clock_timestamp(), revoked_reason = 'another sign-in'
            WHERE s.org_id = org AND s.member_id = member AND NOT s.impersonated AND s.revoked_at IS NULL;
        ELSE
            UPDATE immiiq.session AS s SET revoked_at = clock_timestamp(), revoked_reason = 'another sign-in'
            WHERE s.org_id = org AND s.client_id = client AND s.revoked_at IS NULL;
        END IF;
        made := clock_timestamp();
        result.expires_at := made + ttl;
        INSERT INTO immiiq.session (session_id, org_id, member_id, client_id, token_hash, issued_at, expires_at, method, client_ip, user_agent, device,
                                    country)
        VALUES (result.session_id, org, CASE WHEN client IS NULL THEN member END, client, immiiq.token_digest('sp', result.session_token), made,
                result.expires_at, attempt.method, attempt.ip, attempt.user_agent, attempt.device, attempt.country)
        ON CONFLICT DO NOTHING;
        EXIT WHEN FOUND;
        -- Another session began meanwhile: it is ended like any former one, unless this snapshot cannot see it.
        IF current_setting('transaction_isolation') <> 'read committed' THEN
            RAISE EXCEPTION 'could not serialize access due to concurrent sign-in' USING ERRCODE = 'serialization_failure';
        END IF;
    END LOOP;
    IF client IS NULL THEN
        result.refresh_token := immiiq.derive_token('r', uuid_send(result.session_id) || int8send(0));
        INSERT INTO immiiq.refresh_token (token_hash, session_id, counter)
        VALUES (immiiq.token_digest('r', result.refresh_token), result.session_id, 0);
        IF attempt.device IS NOT NULL THEN
            INSERT INTO immiiq.known_device AS d (org_id, member_id, device, user_agent)
            VALUES (org, member, attempt.device, attempt.user_agent)
            ON CONFLICT ON CONSTRAINT known_device_pkey
            DO UPDATE SET last_seen_at = clock_timestamp(), user_agent = excluded.user_agent;
        END IF;
    END IF;
    result.access_token := immiiq.issue_access_token(result.session_id);
    INSERT INTO immiiq.sign_in_attempt (method, verdict, identifier, known_device, device, org_id, member_id, client_id, session_id,
                                        client_ip, network, country, user_agent)
    VALUES (attempt.method, 'ok', attempt.identifier, attempt.known_device, attempt.device, org, member, client, result.session_id,
            attempt.ip, attempt.network, attempt.country, attempt.user_agent);
    result.verdict := 'ok';
    result.org_id := org;
    result.member_id := member;
    result.client_id := client;
    RETURN result;
END
$$;
COMMENT ON FUNCTION immiiq.open_session(immiiq.sign_in_context, uuid, uuid, uuid)
    IS 'makes the one session of a member, or of a client in the portal, and ends the one before';
REVOKE ALL ON FUNCTION immiiq.sign_in_identifier(text), immiiq.sign_in_device(bytea, text),
    immiiq.begin_sign_in(text, bytea, inet, text, text, text),
    immiiq.refuse_sign_in(immiiq.sign_in_context, text, uuid, uuid, uuid, uuid), immiiq.sign_in_details(immiiq.sign_in_context, uuid),
    immiiq.throttle_sign_in(immiiq.sign_in_context, interval), immiiq.end_session(uuid, text),
    immiiq.open_session(immiiq.sign_in_context, uuid, uuid, uuid) FROM PUBLIC;

-- ---- what the worker writes ----

-- Sessions to be revoked for a refresh token that came twice, until it is done: the row may just be locked.
CREATE TABLE immiiq.pending_revocation (
    session_id uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    reason text NOT NULL
);
COMMENT ON TABLE immiiq.pending_revocation IS 'sessions that the worker still has to revoke';
REVOKE ALL ON immiiq.pending_revocation FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.pending_revocation', '');

CREATE FUNCTION immiiq.revoke_pending() RETURNS integer
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    done integer := 0;
    pending record;
BEGIN
    -- Never waits: somebody's open transaction must not stop the journal.
    FOR pending IN
        SELECT s.session_id, p.reason FROM immiiq.session AS s JOIN immiiq.pending_revocation AS p USING (session_id)
        WHERE s.revoked_at IS NULL
        FOR NO KEY UPDATE OF s SKIP LOCKED
    LOOP
        done := done + immiiq.end_session(pending.session_id, pending.reason)::integer;
    END LOOP;
    DELETE FROM immiiq.pending_revocation AS p
    WHERE NOT EXISTS (SELECT FROM immiiq.session AS s WHERE s.session_id = p.session_id AND s.revoked_at IS NULL);
    RETURN done;
END
$$;
COMMENT ON FUNCTION immiiq.revoke_pending() IS 'revokes the sessions of immiiq.pending_revocation that nobody has locked';

CREATE FUNCTION immiiq.take_sign_in() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    detail constant text[] := string_to_array(NEW.object, ':');
    reason constant text := substr(NEW.reason, strpos(NEW.reason, ' ') + 1);
BEGIN
    INSERT INTO immiiq.sign_in_attempt (at, method, verdict, reason, identifier, device, known_device, country, client_id, org_id, member_id,
                                        session_id, client_ip, network, user_agent)
    VALUES (NEW.at, NEW.action, split_part(NEW.reason, ' ', 1), reason, decode(nullif(detail[1], '-'), 'hex'),
            decode(nullif(detail[2], '-'), 'hex'), detail[3] = '1', nullif(detail[4], '-'), nullif(detail[5], '-')::uuid, NEW.org_id,
            NEW.member_id, NEW.session_id, NEW.client_ip, immiiq.network_of(NEW.client_ip), NEW.user_agent);
    IF reason = 'refresh token used again' THEN
        INSERT INTO immiiq.pending_revocation (session_id, reason) VALUES (NEW.session_id, reason);
        BEGIN
            PERFORM immiiq.revoke_pending();
        EXCEPTION WHEN OTHERS THEN
            NULL;   -- it stays pending
        END;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION immiiq.take_sign_in() IS 'trigger: an attempt that came through the journal goes to immiiq.sign_in_attempt';
CREATE TRIGGER take_sign_in BEFORE INSERT ON immiiq.journal
    FOR EACH ROW WHEN (NEW.kind OPERATOR(pg_catalog.=) 'sign-in') EXECUTE FUNCTION immiiq.take_sign_in();
ALTER TABLE immiiq.journal ENABLE ALWAYS TRIGGER take_sign_in;

CREATE FUNCTION immiiq.purge_sign_in() RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- A link that makes an older one dead stays as long as that has not expired. What somebody holds is for another time.
    DELETE FROM immiiq.link WHERE link_id IN (
        SELECT l.link_id FROM immiiq.link AS l
        WHERE l.expires_at < clock_timestamp() - interval '1 day'
            AND NOT EXISTS (SELECT FROM immiiq.link AS older
                            WHERE older.identifier = l.identifier AND older.issued_at < l.issued_at AND older.expires_at > clock_timestamp())
        FOR UPDATE SKIP LOCKED);
    -- A session lasts a day at most: by then its tokens say nothing any more.
    DELETE FROM immiiq.refresh_token AS r WHERE r.issued_at < clock_timestamp() - interval '2 days';
END
$$;
COMMENT ON FUNCTION immiiq.purge_sign_in() IS 'deletes links and refresh tokens that have been dead for a day; the worker calls it';
REVOKE ALL ON FUNCTION immiiq.revoke_pending(), immiiq.take_sign_in(), immiiq.purge_sign_in() FROM PUBLIC;

-- ---- links and codes ----

-- Of the links of one address, purpose and organisation the last one counts. A new link is a row of its own, so that nobody who asks
-- for one waits for a transaction that has asked and does not end. Tokens and codes are derived from link_id under the installation
-- key, so that the outbox can show them and the table need not hold them.
CREATE TABLE immiiq.link (
    link_id uuid NOT NULL PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('member', 'portal')),
    purpose text NOT NULL,
    identifier bytea NOT NULL,
    org_id uuid,
    member_id uuid,
    client_id uuid,
    email text,
    token_hash bytea NOT NULL UNIQUE,
    code_hash bytea,
    nonce_hash bytea,
    issued_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    taken_at timestamptz,
    ended_at timestamptz,
    CHECK (expires_at OPERATOR(pg_catalog.<=) (issued_at OPERATOR(pg_catalog.+) interval '7 days'))
) WITH (fillfactor = 70);
COMMENT ON TABLE immiiq.link IS 'links, by hash; without organisation for an address that nobody has';
CREATE INDEX link_address_idx ON immiiq.link (identifier, issued_at);
-- With the links of nobody, which must cost the same. Not by ended_at: using a link changes no index.
CREATE INDEX link_outbox_idx ON immiiq.link (issued_at) WHERE taken_at IS NULL;
REVOKE ALL ON immiiq.link FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.link', '');

CREATE VIEW immiiq.live_link AS
SELECT l.* FROM immiiq.link AS l
WHERE l.ended_at IS NULL AND l.expires_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp()
    AND NOT EXISTS (
        SELECT FROM immiiq.link AS newer
        WHERE newer.identifier OPERATOR(pg_catalog.=) l.identifier
            AND (newer.issued_at, newer.link_id) OPERATOR(pg_catalog.>) (l.issued_at, l.link_id)
            AND newer.kind OPERATOR(pg_catalog.=) l.kind AND newer.purpose OPERATOR(pg_catalog.=) l.purpose
            AND newer.org_id IS NOT DISTINCT FROM l.org_id AND newer.client_id IS NOT DISTINCT FROM l.client_id);
COMMENT ON VIEW immiiq.live_link IS 'links that would do: not used, not expired, and none was made after them';
REVOKE ALL ON immiiq.live_link FROM PUBLIC;
CREATE INDEX member_sign_in_idx ON immiiq.member (pg_catalog.lower(email));

CREATE FUNCTION immiiq.link_code(link uuid) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL RESTRICTED
    RETURN pg_catalog.lpad(((('x' OPERATOR(pg_catalog.||) pg_catalog.encode(
        pg_catalog.substr(immiiq.keyed_hash('link-code', pg_catalog.uuid_send(link)), 1, 7), 'hex'))::bit(56)::bigint)
        OPERATOR(pg_catalog.%) 1000000)::text, 6, '0');
COMMENT ON FUNCTION immiiq.link_code(uuid) IS 'the six digits of a link';

CREATE FUNCTION immiiq.link_code_hash(link uuid, code text) RETURNS bytea
    LANGUAGE sql STABLE STRICT PARALLEL RESTRICTED
    RETURN immiiq.keyed_hash('code-at-rest', pg_catalog.uuid_send(link) OPERATOR(pg_catalog.||) pg_catalog.convert_to(code, 'UTF8'));
COMMENT ON FUNCTION immiiq.link_code_hash(uuid, text) IS 'what is stored of a code';

CREATE FUNCTION immiiq.put_link(kind text, purpose text, identifier bytea, org uuid, member uuid, client uuid, email text,
                                nonce text, valid interval) RETURNS timestamptz
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    id constant uuid := gen_random_uuid();
    made constant timestamptz := clock_timestamp();
    token constant text := immiiq.derive_token(CASE kind WHEN 'portal' THEN 'h' ELSE 'l' END, uuid_send(id));
BEGIN
    INSERT INTO immiiq.link (link_id, kind, purpose, identifier, org_id, member_id, client_id, email, token_hash, code_hash, nonce_hash,
                             issued_at, expires_at)
    VALUES (id, put_link.kind, put_link.purpose, put_link.identifier, org, member, client, put_link.email, immiiq.token_digest('lh', token),
            immiiq.link_code_hash(id, immiiq.link_code(id)), sha256(convert_to(nonce, 'UTF8')), made, made + valid);
    RETURN made + valid;
END
$$;
COMMENT ON FUNCTION immiiq.put_link(text, text, bytea, uuid, uuid, uuid, text, text, interval) IS 'makes a link, and by that ends the former one';
REVOKE ALL ON FUNCTION immiiq.link_code(uuid), immiiq.link_code_hash(uuid, text),
    immiiq.put_link(text, text, bytea, uuid, uuid, uuid, text, text, interval) FROM PUBLIC;

CREATE FUNCTION immiiq.issue_link(email text, purpose text DEFAULT 'sign-in', nonce text DEFAULT NULL, ip inet DEFAULT NULL,
                                  user_agent text DEFAULT NULL, device text DEFAULT NULL, country text DEFAULT NULL,
                                  OUT verdict text, OUT retry_after interval)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    started constant timestamptz := clock_timestamp();
    attempt immiiq.sign_in_context;
    ttl constant interval := current_setting('immiiq.link_ttl')::interval;
    found_member record;
BEGIN
    IF purpose IS NULL OR purpose NOT IN ('sign-in', 'confirm') THEN
        RAISE EXCEPTION 'unknown purpose of a link' USING ERRCODE = 'invalid_parameter_value', HINT = 'Use sign-in or confirm.';
    END IF;
    attempt := immiiq.begin_sign_in('issue', immiiq.sign_in_identifier(email), ip, user_agent, device, country);
    -- A browser that has signed in before has a budget of its own: nobody else can use it up.
    retry_after := immiiq.throttle_reserve(
        CASE WHEN attempt.known_device THEN ARRAY['issue-device'] ELSE ARRAY['issue', 'issue-network'] END,
        CASE WHEN attempt.known_device THEN ARRAY[attempt.identifier || attempt.device]
             ELSE ARRAY[attempt.identifier, convert_to(attempt.network::text, 'UTF8')] END);
    IF retry_after IS NOT NULL THEN
        verdict := (immiiq.throttle_sign_in(attempt, retry_after)).verdict;
        RETURN;
    END IF;
    -- Nobody has this address: the same is done, for nothing.
    FOR found_member IN
        WITH holder AS (
            SELECT m.org_id, m.member_id FROM immiiq.member AS m JOIN immiiq.org AS o ON o.org_id = m.org_id
            WHERE lower(m.email) = lower(btrim(left(issue_link.email, 320))) AND m.active AND o.active)
        SELECT org_id, member_id FROM holder
        UNION ALL
        SELECT NULL, CASE WHEN other.active THEN NULL::uuid END     -- somebody else's row is read, as one's own would be
        FROM (VALUES (1)) AS nobody
            LEFT JOIN LATERAL (
                SELECT o.active FROM (SELECT m.org_id FROM immiiq.member AS m WHERE lower(m.email) >= lower(btrim(left(issue_link.email, 320)))
                                      ORDER BY lower(m.email) LIMIT 1) AS m
                    JOIN immiiq.org AS o ON o.org_id = m.org_id) AS other ON true
        WHERE NOT EXISTS (SELECT FROM holder)
    LOOP
        PERFORM immiiq.put_link('member', purpose, attempt.identifier, found_member.org_id, found_member.member_id, NULL, NULL, nonce, ttl);
        INSERT INTO immiiq.sign_in_attempt (method, verdict, reason, identifier, known_device, device, org_id, member_id, client_ip, network,
                                            country, user_agent)
        VALUES ('issue', 'ok', CASE WHEN found_member.org_id IS NULL THEN 'nobody has this address' ELSE 'link put into the outbox' END,
                attempt.identifier, attempt.known_device, attempt.device, found_member.org_id, found_member.member_id,
                attempt.ip, attempt.network, attempt.country, attempt.user_agent);
    END LOOP;
    PERFORM immiiq.throttle_settle(true);   -- every issue counts
    -- A former link, two organisations, a page that was not in memory: what is left of a difference is less than this.
    PERFORM immiiq.answer_at(started, interval '5 ms');
    verdict := 'ok';
END
$$;
COMMENT ON FUNCTION immiiq.issue_link(text, text, text, inet, text, text, text)
    IS 'puts a link and a code for whoever has this address into immiiq.outbox; the answer is the same when nobody has it';
REVOKE ALL ON FUNCTION immiiq.issue_link(text, text, text, inet, text, text, text) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('application', 'EXECUTE', 'FUNCTION immiiq.issue_link(text, text, text, inet, text, text, text)');

-- The mailer's.
CREATE FUNCTION immiiq.read_outbox() RETURNS TABLE (link_id uuid, kind text, purpose text, org_id uuid, org_name text, email text, name text,
                                                    token text, code text, issued_at timestamptz, expires_at timestamptz)
    LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 100 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT l.link_id, l.kind, l.purpose, l.org_id, o.name, coalesce(m.email, l.email), m.name,
           immiiq.derive_token(CASE l.kind WHEN 'portal' THEN 'h' ELSE 'l' END, uuid_send(l.link_id)),
           CASE l.kind WHEN 'member' THEN immiiq.link_code(l.link_id) END, l.issued_at, l.expires_at
    FROM immiiq.live_link AS l JOIN immiiq.org AS o ON o.org_id = l.org_id
        LEFT JOIN immiiq.member AS m ON m.org_id = l.org_id AND m.member_id = l.member_id
    WHERE l.taken_at IS NULL
    ORDER BY l.issued_at
$$;
COMMENT ON FUNCTION immiiq.read_outbox() IS 'what immiiq.outbox shows';
CREATE VIEW immiiq.outbox AS SELECT * FROM immiiq.read_outbox();
COMMENT ON VIEW immiiq.outbox IS 'links and codes that are still to be sent, for roles given by immiiq.grant_mailer';

CREATE FUNCTION immiiq.take_outbox(at_most int DEFAULT 100)
    RETURNS TABLE (link_id uuid, kind text, purpose text, org_id uuid, org_name text, email text, name text,
                   token text, code text, issued_at timestamptz, expires_at timestamptz)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 100 SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    taken uuid[];
BEGIN
    SELECT array_agg(l.link_id) INTO taken FROM (
        SELECT link_id FROM immiiq.live_link
        WHERE taken_at IS NULL AND org_id IS NOT NULL
        ORDER BY issued_at
        LIMIT at_most
        FOR UPDATE SKIP LOCKED) AS l;
    RETURN QUERY SELECT o.* FROM immiiq.read_outbox() AS o WHERE o.link_id = ANY (taken);
    UPDATE immiiq.link SET taken_at = clock_timestamp(), email = NULL WHERE link_id = ANY (taken);
END
$$;
COMMENT ON FUNCTION immiiq.take_outbox(int) IS 'takes messages off immiiq.outbox; two mailers never get the same one';
REVOKE ALL ON FUNCTION immiiq.read_outbox(), immiiq.take_outbox(int) FROM PUBLIC;
REVOKE ALL ON immiiq.outbox FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('mailer', 'SELECT', 'TABLE immiiq.outbox'),
    ('mailer', 'EXECUTE', 'FUNCTION immiiq.read_outbox()'),
    ('mailer', 'EXECUTE', 'FUNCTION immiiq.take_outbox(int)');

CREATE FUNCTION immiiq.peek_link(token text, OUT verdict text, OUT kind text, OUT purpose text, OUT needs_nonce boolean,
                                 OUT expires_at timestamptz)
    LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT l.kind, l.purpose, l.nonce_hash IS NOT NULL, l.expires_at INTO kind, purpose, needs_nonce, expires_at
    FROM immiiq.live_link AS l
    WHERE l.token_hash = immiiq.token_digest('lh', token);
    verdict := CASE WHEN FOUND THEN 'ok' ELSE 'denied' END;
END
$$;
COMMENT ON FUNCTION immiiq.peek_link(text) IS 'whether a link would still do, without using it: for the page that a mail scanner may open';
REVOKE ALL ON FUNCTION immiiq.peek_link(text) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('application', 'EXECUTE', 'FUNCTION immiiq.peek_link(text)');

CREATE FUNCTION immiiq.redeem_link(token_or_code text, nonce text DEFAULT NULL, email text DEFAULT NULL, purpose text DEFAULT 'sign-in',
                                   ip inet DEFAULT NULL, user_agent text DEFAULT NULL, device text DEFAULT NULL,
                                   country text DEFAULT NULL) RETURNS immiiq.sign_in_result
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    by_code constant boolean := coalesce(token_or_code ~ '^[0-9]{6}$', false);
    address constant bytea := CASE WHEN by_code OR email IS NOT NULL THEN immiiq.sign_in_identifier(email) END;
    acting text;
    attempt immiiq.sign_in_context;
    digest bytea;
    wait interval;
    found_link record;
    used immiiq.link;
    result immiiq.sign_in_result;
    good boolean := false;
BEGIN
    IF by_code THEN
        attempt := immiiq.begin_sign_in('code', address, ip, user_agent, device, country);
        -- Five tries for an address, however often it is issued anew.
        wait := immiiq.throttle_reserve(ARRAY['code', CASE WHEN NOT attempt.known_device THEN 'network' END],
                                        ARRAY[address, convert_to(attempt.network::text, 'UTF8')]);
        IF wait IS NOT NULL THEN
            RETURN immiiq.throttle_sign_in(attempt, wait);
        END IF;
        FOR found_link IN
            SELECT l.* FROM immiiq.live_link AS l
            WHERE l.kind = 'member' AND l.identifier = address AND l.purpose = redeem_link.purpose
        LOOP
            IF immiiq.same_bytes(found_link.code_hash, immiiq.link_code_hash(found_link.link_id, token_or_code))
                AND found_link.org_id IS NOT NULL
            THEN
                digest := found_link.token_hash;
            END IF;
        END LOOP;
        good := digest IS NOT NULL;
        PERFORM immiiq.throttle_settle(NOT good);
        IF NOT good THEN
            SELECT l.* INTO found_link FROM immiiq.link AS l
            WHERE l.kind = 'member' AND l.identifier = address AND l.org_id IS NOT NULL LIMIT 1;
            RETURN immiiq.refuse_sign_in(attempt, 'wrong code', found_link.org_id, found_link.member_id, NULL, NULL);
        END IF;
    ELSE
        digest := immiiq.token_digest('l', token_or_code);
    END IF;
    -- One statement, so that of two only one gets it.
    UPDATE immiiq.live_link AS l SET ended_at = clock_timestamp()
    WHERE l.token_hash = digest AND l.kind = 'member' AND l.purpose = redeem_link.purpose AND l.org_id IS NOT NULL
        AND (by_code OR l.nonce_hash IS NULL OR immiiq.same_bytes(l.nonce_hash, sha256(convert_to(nonce, 'UTF8'))))
        AND immiiq.address_allowed(l.org_id, ip)
    RETURNING l.* INTO used;
    IF NOT FOUND THEN
        SELECT l.* INTO found_link FROM immiiq.link AS l WHERE l.token_hash = digest AND l.kind = 'member';
        attempt := immiiq.begin_sign_in(CASE WHEN by_code THEN 'code' ELSE 'link' END, coalesce(found_link.identifier, address),
                                        ip, user_agent, device, country);
        RETURN immiiq.refuse_sign_in(attempt,
            CASE WHEN found_link.link_id IS NULL THEN 'unknown'
                 WHEN found_link.ended_at IS NOT NULL THEN 'used'
                 WHEN found_link.expires_at <= clock_timestamp() THEN 'expired'
                 WHEN NOT EXISTS (SELECT FROM immiiq.live_link AS l WHERE l.link_id = found_link.link_id) THEN 'a newer one was made'
                 WHEN found_link.purpose <> redeem_link.purpose THEN 'another purpose'
                 WHEN NOT immiiq.address_allowed(found_link.org_id, ip) THEN 'address not allowed'
                 ELSE 'another browser' END,
            found_link.org_id, found_link.member_id, NULL, NULL);
    END IF;
    attempt := immiiq.begin_sign_in(CASE WHEN by_code THEN 'code' ELSE 'link' END, used.identifier, ip, user_agent, device, country);
    acting := immiiq.acting_email(used.org_id, used.member_id);
    IF acting IS NULL OR immiiq.sign_in_identifier(acting) <> used.identifier THEN
        -- Not active, or the address has become another since.
        RETURN immiiq.refuse_sign_in(attempt, 'not active', used.org_id, used.member_id, NULL, NULL);
    END IF;
    IF used.purpose = 'confirm' THEN
        INSERT INTO immiiq.sign_in_attempt (method, verdict, reason, identifier, known_device, device, org_id, member_id, client_ip, network,
                                            country, user_agent)
        VALUES (attempt.method, 'ok', 'confirmed', attempt.identifier, attempt.known_device, attempt.device, used.org_id, used.member_id,
                attempt.ip, attempt.network, attempt.country, attempt.user_agent);
        result.verdict := 'ok';
        result.org_id := used.org_id;
        result.member_id := used.member_id;
        RETURN result;
    END IF;
    RETURN immiiq.open_session(attempt, used.org_id, used.member_id, NULL);
END
$$;
COMMENT ON FUNCTION immiiq.redeem_link(text, text, text, text, inet, text, text, text)
    IS 'uses a link (with the nonce of the browser that asked for it) or a code (with the e-mail address) once, for a session';
REVOKE ALL ON FUNCTION immiiq.redeem_link(text, text, text, text, inet, text, text, text) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'EXECUTE', 'FUNCTION immiiq.redeem_link(text, text, text, text, inet, text, text, text)');

-- ---- the end of sessions ----

-- What a prompt says puts nobody out.
CREATE FUNCTION immiiq.refuse_assistant() RETURNS void
    LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF immiiq.current_actor() = 'assistant' THEN
        RAISE EXCEPTION 'the assistant ends no session' USING ERRCODE = 'insufficient_privilege';
    END IF;
END
$$;
COMMENT ON FUNCTION immiiq.refuse_assistant() IS 'refuses the assistant (42501); used by what ends sessions';
REVOKE ALL ON FUNCTION immiiq.refuse_assistant() FROM PUBLIC;

CREATE FUNCTION immiiq.sign_out() RETURNS boolean
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF immiiq.current_session() IS NULL THEN
        RAISE EXCEPTION 'nobody is active in this transaction' USING ERRCODE = 'IQ011',
            HINT = 'Set immiiq.token in this transaction first, with set_config(''immiiq.token'', $1, true) or immiiq.authenticate.';
    END IF;
    PERFORM immiiq.refuse_assistant();
    RETURN immiiq.end_session(immiiq.current_session(), 'signed out');
END
$$;
COMMENT ON FUNCTION immiiq.sign_out() IS 'ends the active session; false when it had ended';

CREATE FUNCTION immiiq.sign_out_everywhere() RETURNS integer
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ended integer;
BEGIN
    IF immiiq.current_session() IS NULL THEN
        RAISE EXCEPTION 'nobody is active in this transaction' USING ERRCODE = 'IQ011',
            HINT = 'Set immiiq.token in this transaction first, with set_config(''immiiq.token'', $1, true) or immiiq.authenticate.';
    END IF;
    PERFORM immiiq.refuse_assistant();
    UPDATE immiiq.session AS s SET revoked_at = clock_timestamp(), revoked_reason = 'signed out everywhere'
    WHERE s.org_id = immiiq.current_org() AND s.revoked_at IS NULL
        AND (s.member_id = immiiq.current_member() OR s.client_id = immiiq.current_client());
    GET DIAGNOSTICS ended = ROW_COUNT;
    -- Links that are still on their way are a way back in.
    UPDATE immiiq.link AS l SET ended_at = clock_timestamp()
    WHERE l.org_id = immiiq.current_org() AND l.ended_at IS NULL
        AND (l.member_id = immiiq.current_member() OR l.client_id = immiiq.current_client());
    RETURN ended;
END
$$;
COMMENT ON FUNCTION immiiq.sign_out_everywhere() IS 'ends every session and link of who is active, impersonations too; returns how many sessions';

CREATE FUNCTION immiiq.revoke_session(session uuid) RETURNS boolean
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    owned record;
BEGIN
    IF immiiq.current_org() IS NULL THEN
        RAISE EXCEPTION 'nobody is active in this transaction' USING ERRCODE = 'IQ011',
            HINT = 'Set immiiq.token in this transaction first, with set_config(''immiiq.token'', $1, true) or immiiq.authenticate.';
    END IF;
    PERFORM immiiq.refuse_assistant();
    SELECT s.member_id, s.client_id INTO owned FROM immiiq.session AS s
    WHERE s.session_id = revoke_session.session AND s.org_id = immiiq.current_org();
    IF NOT FOUND THEN
        PERFORM immiiq.note_unreachable('revoke_session');
        RETURN false;
    END IF;
    -- One's own; others' with team_management, clients' with the module clients; operators' all.
    IF owned.member_id = immiiq.current_member() OR owned.client_id = immiiq.current_client()
        OR immiiq.visible(CASE WHEN owned.client_id IS NULL THEN 'team_management' ELSE 'clients' END, 'update', immiiq.current_org(),
                          owned.client_id, NULL, NULL, NULL)
    THEN
        RETURN immiiq.end_session(revoke_session.session, 'revoked');
    END IF;
    PERFORM immiiq.note_unreachable('revoke_session');
    RETURN false;
END
$$;
COMMENT ON FUNCTION immiiq.revoke_session(uuid) IS 'ends a session of one''s own, or with team_management a colleague''s; false when there is none to end';
REVOKE ALL ON FUNCTION immiiq.sign_out(), immiiq.sign_out_everywhere(), immiiq.revoke_session(uuid) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'EXECUTE', 'FUNCTION immiiq.sign_out()'),
    ('application', 'EXECUTE', 'FUNCTION immiiq.sign_out_everywhere()'),
    ('application', 'EXECUTE', 'FUNCTION immiiq.revoke_session(uuid)'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.revoke_session(uuid)');

CREATE VIEW immiiq.active_session WITH (security_barrier) AS
    SELECT s.session_id, s.org_id, s.member_id, s.client_id, s.method, s.impersonated, s.issued_at, s.expires_at, s.client_ip, s.user_agent,
           s.device, s.country, s.session_id OPERATOR(pg_catalog.=) immiiq.current_session() AS is_current
    FROM (
        SELECT * FROM immiiq.session WHERE immiiq.journal_reader()
        UNION ALL
        SELECT * FROM immiiq.session WHERE NOT immiiq.journal_reader() AND org_id OPERATOR(pg_catalog.=) immiiq.journal_org()
        UNION ALL
        SELECT * FROM immiiq.session
        WHERE NOT immiiq.journal_reader() AND immiiq.journal_org() IS NULL
            AND org_id OPERATOR(pg_catalog.=) immiiq.current_org()
            AND (member_id OPERATOR(pg_catalog.=) immiiq.current_member() OR client_id OPERATOR(pg_catalog.=) immiiq.current_client())
    ) AS s
    WHERE s.revoked_at IS NULL AND s.expires_at OPERATOR(pg_catalog.>) pg_catalog.now();
COMMENT ON VIEW immiiq.active_session IS 'sessions that have not ended: one''s own, and the organisation''s for members with scope all and the module reports';
REVOKE ALL ON immiiq.active_session FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'SELECT', 'TABLE immiiq.active_session'),
    ('auditor', 'SELECT', 'TABLE immiiq.active_session');

-- ---- passwords ----

CREATE TABLE immiiq.password (
    org_id uuid NOT NULL,
    member_id uuid NOT NULL PRIMARY KEY,
    hash text NOT NULL CHECK (immiiq.password_kind(hash) IS NOT NULL),
    changed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    FOREIGN KEY (org_id, member_id) REFERENCES immiiq.member (org_id, member_id) ON DELETE CASCADE
);
COMMENT ON TABLE immiiq.password IS 'password hashes of members who want one: Argon2id, or bcrypt until the next sign-in';
REVOKE ALL ON immiiq.password FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.password', '');
CREATE TRIGGER "00_immiiq_capture" AFTER INSERT OR UPDATE OR DELETE ON immiiq.password
    FOR EACH ROW EXECUTE FUNCTION immiiq.capture();
ALTER TABLE immiiq.password ENABLE ALWAYS TRIGGER "00_immiiq_capture";

-- The DBA loads any list of passwords that are known to be used.
CREATE TABLE immiiq.password_blocklist (
    password text NOT NULL PRIMARY KEY CHECK (password OPERATOR(pg_catalog.=) pg_catalog.lower(password))
);
COMMENT ON TABLE immiiq.password_blocklist IS 'passwords that set_password refuses, in lower case, loaded by the DBA';
REVOKE ALL ON immiiq.password_blocklist FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.password_blocklist', '');

CREATE FUNCTION immiiq.check_password(password text, email text, name text, org_name text) RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    plain constant text := lower(normalize(password, NFKC));
BEGIN
    -- NIST SP 800-63B: length and what is known or expected, no rules on kinds of characters.
    RETURN CASE
        WHEN password IS NULL OR char_length(normalize(password, NFKC)) < 8 THEN 'is shorter than 8 characters'
        WHEN octet_length(password) > 1024 THEN 'is longer than 1024 bytes'
        WHEN EXISTS (SELECT FROM immiiq.password_blocklist AS b WHERE b.password = plain) THEN 'is on the list of known passwords'
        WHEN plain ~ '^(.)\1*$' THEN 'is one character over and over'
        WHEN strpos('abcdefghijklmnopqrstuvwxyz0123456789012345678909876543210qwertyuiopasdfghjklzxcvbnm', plain) > 0 THEN 'is a sequence'
        WHEN strpos(plain, 'immiiq') > 0 AND char_length(plain) < 15 THEN 'is the name of this software'
        WHEN plain IN (lower(email), lower(name), lower(org_name)) THEN 'is the name or address'
        WHEN char_length(plain) < 15 AND EXISTS (
            SELECT FROM unnest(ARRAY[lower(email), split_part(lower(email), '@', 1), lower(name), lower(org_name)]) AS known (word)
            WHERE char_length(known.word) >= 4 AND (strpos(plain, known.word) > 0 OR strpos(known.word, plain) > 0)) THEN 'is made of the name or address'
    END;
END
$$;
COMMENT ON FUNCTION immiiq.check_password(text, text, text, text) IS 'why a password is not accepted, null when it is';

-- What a password that nobody has is compared with: an account chosen by the address, so that its time is drawn from the same
-- distribution, bcrypt included; at first, a hash of random bytes.
CREATE FUNCTION immiiq.decoy_hash(identifier bytea) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(
        (SELECT p.hash FROM immiiq.password AS p WHERE p.member_id >= encode(identifier, 'hex')::uuid ORDER BY p.member_id LIMIT 1),
        (SELECT p.hash FROM immiiq.password AS p ORDER BY p.member_id LIMIT 1),
        '$argon2id$v=19$m=19456,t=2,p=1$qT+uMPkYQ/ATi07Eh2XJyg$r5PHb1nBISITTLbUEctPDJP2cHxYOIfjRMSd2rPsUCA')
$$;
COMMENT ON FUNCTION immiiq.decoy_hash(bytea) IS 'a hash to spend time on for an address that has none';

CREATE FUNCTION immiiq.password_matches(hash text, password text) RETURNS boolean
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT immiiq.verify_password(hash, CASE WHEN immiiq.password_kind(hash) = 'bcrypt' THEN password ELSE normalize(password, NFKC) END) $$;
COMMENT ON FUNCTION immiiq.password_matches(text, text) IS 'verify_password on the normalised password; on its bytes for bcrypt, as it was made elsewhere';
REVOKE ALL ON FUNCTION immiiq.check_password(text, text, text, text), immiiq.decoy_hash(bytea), immiiq.password_matches(text, text) FROM PUBLIC;

CREATE FUNCTION immiiq.sign_in_password(email text, password text, org uuid DEFAULT NULL, ip inet DEFAULT NULL, user_agent text DEFAULT NULL,
                                        device text DEFAULT NULL, country text DEFAULT NULL) RETURNS immiiq.sign_in_result
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    attempt immiiq.sign_in_context;
    wait interval;
    usable constant boolean := coalesce(octet_length(password) <= 1024, false);
    account record;
    good boolean;
    reason text;
BEGIN
    attempt := immiiq.begin_sign_in('password', immiiq.sign_in_identifier(email), ip, user_agent, device, country);
    wait := immiiq.throttle_reserve(
        CASE WHEN attempt.known_device THEN ARRAY['device'] ELSE ARRAY['account', 'network'] END,
        CASE WHEN attempt.known_device THEN ARRAY[attempt.identifier || attempt.device]
             ELSE ARRAY[attempt.identifier, convert_to(attempt.network::text, 'UTF8')] END);
    IF wait IS NOT NULL THEN
        RETURN immiiq.throttle_sign_in(attempt, wait);
    END IF;
    -- Of several memberships with this address the one that is named, else the oldest that has a password.
    SELECT m.org_id, m.member_id, m.active AND o.active AS active, p.hash, immiiq.address_allowed(m.org_id, ip) AS allowed INTO account
    FROM immiiq.member AS m JOIN immiiq.org AS o ON o.org_id = m.org_id LEFT JOIN immiiq.password AS p ON p.member_id = m.member_id
    WHERE lower(m.email) = lower(btrim(left(sign_in_password.email, 320))) AND (org IS NULL OR m.org_id = org)
    ORDER BY p.hash IS NULL, m.created_at, m.org_id
    LIMIT 1;
    good := immiiq.password_matches(coalesce(account.hash, immiiq.decoy_hash(attempt.identifier)), CASE WHEN usable THEN password ELSE '' END);
    reason := CASE WHEN account.member_id IS NULL THEN 'unknown'
                   WHEN account.hash IS NULL THEN 'no password'
                   WHEN NOT good OR NOT usable THEN 'wrong password'
                   WHEN NOT account.active THEN 'not active'
                   WHEN NOT account.allowed THEN 'address not allowed' END;
    PERFORM immiiq.throttle_settle(reason IS NOT NULL);
    IF reason IS NOT NULL THEN
        RETURN immiiq.refuse_sign_in(attempt, reason, account.org_id, account.member_id, NULL, NULL);
    END IF;
    IF immiiq.password_kind(account.hash) <> 'argon2id' THEN
        UPDATE immiiq.password AS p SET hash = immiiq.hash_password(normalize(password, NFKC))
        WHERE p.member_id = account.member_id AND p.hash = account.hash;
    END IF;
    RETURN immiiq.open_session(attempt, account.org_id, account.member_id, NULL);
END
$$;
COMMENT ON FUNCTION immiiq.sign_in_password(text, text, uuid, inet, text, text, text) IS 'a session for an e-mail address and its password';

CREATE FUNCTION immiiq.set_password(password text, former text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    account record;
    attempt immiiq.sign_in_context;
    reason text;
    good boolean;
BEGIN
    SELECT m.org_id, m.member_id, m.email, m.name, o.name AS org_name, p.hash, s.impersonated,
           s.method IN ('link', 'code') AND s.issued_at > clock_timestamp() - interval '10 minutes' AS proved, s.client_ip, s.user_agent
        INTO account
    FROM immiiq.session AS s JOIN immiiq.member AS m ON m.org_id = s.org_id AND m.member_id = s.member_id
        JOIN immiiq.org AS o ON o.org_id = m.org_id LEFT JOIN immiiq.password AS p ON p.member_id = m.member_id
    WHERE s.session_id = immiiq.current_session();
    IF NOT FOUND OR immiiq.current_actor() <> 'member' OR account.impersonated THEN
        RAISE EXCEPTION 'only a member who has signed in can set a password' USING ERRCODE = 'insufficient_privilege';
    END IF;
    -- Whoever holds a session is not yet the member: the former password, or a link of just now, must prove it.
    IF NOT account.proved THEN
        IF account.hash IS NULL OR former IS NULL THEN
            RAISE EXCEPTION 'the former password is needed' USING ERRCODE = 'insufficient_privilege',
                HINT = 'Or sign in by a link, and set the password within ten minutes.';
        END IF;
        attempt := immiiq.begin_sign_in('set-password', immiiq.sign_in_identifier(account.email), account.client_ip, account.user_agent, NULL, NULL);
        IF immiiq.throttle_reserve(ARRAY['account'], ARRAY[attempt.identifier]) IS NOT NULL THEN
            RAISE EXCEPTION 'too many attempts' USING ERRCODE = 'insufficient_privilege', HINT = 'Try again later.';
        END IF;
        good := immiiq.password_matches(account.hash, left(former, 1024));
        PERFORM immiiq.throttle_settle(NOT good);
        IF NOT good THEN
            PERFORM immiiq.refuse_sign_in(attempt, 'wrong former password', account.org_id, account.member_id, NULL, immiiq.current_session());
            RAISE EXCEPTION 'the former password is needed' USING ERRCODE = 'insufficient_privilege',
                HINT = 'Or sign in by a link, and set the password within ten minutes.';
        END IF;
    END IF;
    reason := immiiq.check_password(password, account.email, account.name, account.org_name);
    IF reason IS NOT NULL THEN
        RAISE EXCEPTION 'the password %', reason USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO immiiq.password AS p (org_id, member_id, hash)
    VALUES (account.org_id, account.member_id, immiiq.hash_password(normalize(password, NFKC)))
    ON CONFLICT ON CONSTRAINT password_pkey DO UPDATE SET hash = excluded.hash, changed_at = excluded.changed_at;
    -- Other ways in that may be somebody else's end.
    UPDATE immiiq.session AS s SET revoked_at = clock_timestamp(), revoked_reason = 'password changed'
    WHERE s.org_id = account.org_id AND s.member_id = account.member_id AND s.revoked_at IS NULL AND s.session_id <> immiiq.current_session();
    UPDATE immiiq.link AS l SET ended_at = clock_timestamp()
    WHERE l.org_id = account.org_id AND l.member_id = account.member_id AND l.ended_at IS NULL;
END
$$;
COMMENT ON FUNCTION immiiq.set_password(text, text)
    IS 'sets the active member''s password: with the former one, or within ten minutes of a sign-in by link';

CREATE FUNCTION immiiq.import_password(member uuid, hash text) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF immiiq.password_kind(import_password.hash) IS NULL THEN
        RAISE EXCEPTION 'not a hash that is accepted' USING ERRCODE = 'invalid_parameter_value',
            HINT = 'bcrypt as $2a$, $2b$ or $2y$ with cost 4 to 16, or Argon2id.';
    END IF;
    -- In the organisation that the operator has entered, so that it is written down who brought it.
    INSERT INTO immiiq.password (org_id, member_id, hash)
    SELECT m.org_id, m.member_id, import_password.hash FROM immiiq.member AS m
    WHERE m.member_id = import_password.member AND m.org_id = immiiq.current_org() AND immiiq.current_actor() = 'operator'
        AND NOT EXISTS (SELECT FROM immiiq.password AS p WHERE p.member_id = m.member_id);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no member without a password with this id in the organisation that was entered' USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Call immiiq.operate() first.';
    END IF;
END
$$;
COMMENT ON FUNCTION immiiq.import_password(uuid, text) IS 'takes a member''s hash over from another system; after operate()';

CREATE FUNCTION immiiq.unlock_sign_in(email text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    identifier constant bytea := immiiq.sign_in_identifier(email);
    unlocked boolean;
BEGIN
    SELECT bool_or(immiiq.throttle_forget(class, identifier)) INTO unlocked FROM unnest(ARRAY['account', 'code', 'issue']) AS class;
    INSERT INTO immiiq.sign_in_attempt (method, verdict, reason, identifier) VALUES ('unlock', 'ok', 'by ' || session_user, identifier);
    RETURN unlocked;
END
$$;
COMMENT ON FUNCTION immiiq.unlock_sign_in(text) IS 'forgets failed attempts on an address; false when there was nothing to forget';
REVOKE ALL ON FUNCTION immiiq.sign_in_password(text, text, uuid, inet, text, text, text), immiiq.set_password(text, text),
    immiiq.import_password(uuid, text), immiiq.unlock_sign_in(text) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'EXECUTE', 'FUNCTION immiiq.sign_in_password(text, text, uuid, inet, text, text, text)'),
    ('application', 'EXECUTE', 'FUNCTION immiiq.set_password(text, text)'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.import_password(uuid, text)'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.unlock_sign_in(text)');

-- ---- refresh tokens ----

CREATE FUNCTION immiiq.rotate_refresh(refresh_token text, ip inet DEFAULT NULL, user_agent text DEFAULT NULL) RETURNS immiiq.sign_in_result
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    digest constant bytea := immiiq.token_digest('r', rotate_refresh.refresh_token);
    grace constant interval := current_setting('immiiq.refresh_grace')::interval;
    used immiiq.refresh_token;
    rotated boolean;
    owner record;
    result immiiq.sign_in_result;
BEGIN
    UPDATE immiiq.refresh_token AS r SET used_at = clock_timestamp() WHERE r.token_hash = digest AND r.used_at IS NULL RETURNING r.* INTO used;
    rotated := FOUND;
    IF NOT rotated THEN
        SELECT r.* INTO used FROM immiiq.refresh_token AS r WHERE r.token_hash = digest;
    END IF;
    owner := immiiq.session_owner(used.session_id, ip);
    IF NOT coalesce(owner.active AND owner.allowed, false) THEN
        RETURN immiiq.refuse_sign_in(immiiq.begin_sign_in('refresh', NULL, ip, user_agent, NULL, NULL),
            CASE WHEN used.session_id IS NULL THEN 'unknown' WHEN owner.active THEN 'address not allowed' ELSE 'session ended' END,
            owner.org_id, owner.member_id, NULL, used.session_id);
    END IF;
    -- Within the grace the former token gives the same successor, until that has been used.
    IF NOT rotated AND (used.used_at + grace <= clock_timestamp()
        OR EXISTS (SELECT FROM immiiq.refresh_token AS r
                   WHERE r.session_id = used.session_id AND r.counter = used.counter + 1 AND r.used_at IS NOT NULL))
    THEN
        RETURN immiiq.refuse_sign_in(immiiq.begin_sign_in('refresh', NULL, ip, user_agent, NULL, NULL), 'refresh token used again',
            owner.org_id, owner.member_id, NULL, used.session_id);
    END IF;
    result.refresh_token := immiiq.derive_token('r', uuid_send(used.session_id) || int8send(used.counter + 1));
    IF rotated THEN
        INSERT INTO immiiq.refresh_token (token_hash, session_id, counter)
        VALUES (immiiq.token_digest('r', result.refresh_token), used.session_id, used.counter + 1);
    END IF;
    result.access_token := immiiq.issue_access_token(used.session_id);
    result.verdict := 'ok';
    result.org_id := owner.org_id;
    result.member_id := owner.member_id;
    result.session_id := used.session_id;
    result.expires_at := owner.expires_at;
    RETURN result;
END
$$;
COMMENT ON FUNCTION immiiq.rotate_refresh(text, inet, text)
    IS 'the next refresh token of a session; a token that comes twice ends the session, whatever becomes of the transaction';
REVOKE ALL ON FUNCTION immiiq.rotate_refresh(text, inet, text) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('application', 'EXECUTE', 'FUNCTION immiiq.rotate_refresh(text, inet, text)');

-- ---- the client portal ----

CREATE FUNCTION immiiq.issue_portal_link(client uuid, email text, valid interval DEFAULT '24 hours',
                                         OUT verdict text, OUT expires_at timestamptz)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    attempt immiiq.sign_in_context;
BEGIN
    IF client IS NULL OR email IS NULL OR strpos(email, '@') = 0 OR char_length(email) > 320 OR email ~ '[[:cntrl:]]' THEN
        RAISE EXCEPTION 'a client and an e-mail address are needed' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF valid IS NULL OR valid < interval '1 minute' OR valid > interval '7 days' THEN
        RAISE EXCEPTION 'a portal link lasts from one minute to seven days' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Only for who may see this client, and may write: the same that a policy asks.
    IF immiiq.current_actor() IS DISTINCT FROM 'member' AND immiiq.current_actor() IS DISTINCT FROM 'operator'
        OR NOT immiiq.visible('clients', 'update', immiiq.current_org(), client, NULL, NULL, NULL)
    THEN
        RAISE EXCEPTION 'no such client' USING ERRCODE = 'insufficient_privilege';
    END IF;
    attempt := immiiq.begin_sign_in('portal-issue', immiiq.sign_in_identifier(email), immiiq.current_address(), NULL, NULL, NULL);
    expires_at := immiiq.put_link('portal', 'portal', attempt.identifier, immiiq.current_org(), NULL, client, btrim(email), NULL, valid);
    INSERT INTO immiiq.sign_in_attempt (method, verdict, identifier, org_id, member_id, client_id, session_id, client_ip, network)
    VALUES (attempt.method, 'ok', attempt.identifier, immiiq.current_org(), immiiq.current_member(), client, immiiq.current_session(),
            attempt.ip, attempt.network);
    verdict := 'ok';
END
$$;
COMMENT ON FUNCTION immiiq.issue_portal_link(uuid, text, interval) IS 'puts a link into the portal for a client into immiiq.outbox';

CREATE FUNCTION immiiq.redeem_portal_link(token text, ip inet DEFAULT NULL, user_agent text DEFAULT NULL, device text DEFAULT NULL,
                                          country text DEFAULT NULL) RETURNS immiiq.sign_in_result
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    digest constant bytea := immiiq.token_digest('h', token);
    used immiiq.link;
    found_link immiiq.link;
BEGIN
    UPDATE immiiq.live_link AS l SET ended_at = clock_timestamp()
    WHERE l.token_hash = digest AND l.kind = 'portal'
        AND EXISTS (SELECT FROM immiiq.org AS o WHERE o.org_id = l.org_id AND o.active)
    RETURNING l.* INTO used;
    IF NOT FOUND THEN
        SELECT l.* INTO found_link FROM immiiq.link AS l WHERE l.token_hash = digest AND l.kind = 'portal';
        RETURN immiiq.refuse_sign_in(immiiq.begin_sign_in('portal', found_link.identifier, ip, user_agent, device, country),
            CASE WHEN found_link.link_id IS NULL THEN 'unknown'
                 WHEN found_link.ended_at IS NOT NULL THEN 'used'
                 WHEN found_link.expires_at <= clock_timestamp() THEN 'expired'
                 WHEN NOT EXISTS (SELECT FROM immiiq.live_link AS l WHERE l.link_id = found_link.link_id) THEN 'a newer one was made'
                 ELSE 'not active' END,
            found_link.org_id, NULL, found_link.client_id, NULL);
    END IF;
    RETURN immiiq.open_session(immiiq.begin_sign_in('portal', used.identifier, ip, user_agent, device, country),
                               used.org_id, NULL, used.client_id);
END
$$;
COMMENT ON FUNCTION immiiq.redeem_portal_link(text, inet, text, text, text) IS 'uses a portal link once, for a session that is the client''s and never a member''s';

CREATE FUNCTION immiiq.revoke_portal(client uuid) RETURNS integer
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ended integer;
BEGIN
    IF NOT coalesce(immiiq.visible('clients', 'update', immiiq.current_org(), client, NULL, NULL, NULL), false) THEN
        RAISE EXCEPTION 'no such client' USING ERRCODE = 'insufficient_privilege';
    END IF;
    UPDATE immiiq.link AS l SET ended_at = clock_timestamp()
    WHERE l.org_id = immiiq.current_org() AND l.kind = 'portal' AND l.client_id = client AND l.ended_at IS NULL;
    UPDATE immiiq.session AS s SET revoked_at = clock_timestamp(), revoked_reason = 'portal revoked'
    WHERE s.org_id = immiiq.current_org() AND s.client_id = client AND s.revoked_at IS NULL;
    GET DIAGNOSTICS ended = ROW_COUNT;
    RETURN ended;
END
$$;
COMMENT ON FUNCTION immiiq.revoke_portal(uuid) IS 'ends a client''s links into the portal and session there; returns how many sessions';
REVOKE ALL ON FUNCTION immiiq.issue_portal_link(uuid, text, interval), immiiq.redeem_portal_link(text, inet, text, text, text),
    immiiq.revoke_portal(uuid) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'EXECUTE', 'FUNCTION immiiq.issue_portal_link(uuid, text, interval)'),
    ('application', 'EXECUTE', 'FUNCTION immiiq.redeem_portal_link(text, inet, text, text, text)'),
    ('application', 'EXECUTE', 'FUNCTION immiiq.revoke_portal(uuid)');

-- ---- anomalies ----

CREATE VIEW immiiq.session_anomaly AS
    SELECT s.session_id, s.org_id, s.member_id, s.issued_at, s.client_ip, s.country, s.user_agent,
           pg_catalog.array_remove(ARRAY[
               CASE WHEN s.country IS NOT NULL AND b.countries IS NOT NULL
                         AND NOT s.country OPERATOR(pg_catalog.=) ANY (b.countries) THEN 'new country' END,
               CASE WHEN b.sign_ins OPERATOR(pg_catalog.>) 0
                         AND (s.device IS NULL OR NOT coalesce(s.device OPERATOR(pg_catalog.=) ANY (b.devices), false)) THEN 'new device' END,
               CASE WHEN b.last_country OPERATOR(pg_catalog.<>) s.country
                         AND (s.issued_at OPERATOR(pg_catalog.-) b.last_at) OPERATOR(pg_catalog.<) interval '1 hour' THEN 'impossible pace' END
           ], NULL) AS reasons
    FROM immiiq.active_session AS s
        CROSS JOIN LATERAL (
            SELECT pg_catalog.count(*) AS sign_ins,
                   pg_catalog.array_agg(DISTINCT a.country) FILTER (WHERE a.country IS NOT NULL) AS countries,
                   pg_catalog.array_agg(DISTINCT a.device) FILTER (WHERE a.device IS NOT NULL) AS devices,
                   pg_catalog.max(a.at) FILTER (WHERE a.country IS NOT NULL) AS last_at,
                   (pg_catalog.array_agg(a.country ORDER BY a.at DESC) FILTER (WHERE a.country IS NOT NULL))[1] AS last_country
            FROM immiiq.sign_in_log AS a
            WHERE a.org_id OPERATOR(pg_catalog.=) s.org_id AND a.member_id OPERATOR(pg_catalog.=) s.member_id
                AND a.verdict OPERATOR(pg_catalog.=) 'ok' AND a.session_id IS NOT NULL
                AND a.session_id OPERATOR(pg_catalog.<>) s.session_id AND a.at OPERATOR(pg_catalog.<) s.issued_at
        ) AS b
    WHERE s.member_id IS NOT NULL AND NOT s.impersonated;
COMMENT ON VIEW immiiq.session_anomaly IS 'active sessions, and in what they differ from the member''s sign-ins before: new country, new device, impossible pace';
REVOKE ALL ON immiiq.session_anomaly FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'SELECT', 'TABLE immiiq.session_anomaly'),
    ('auditor', 'SELECT', 'TABLE immiiq.session_anomaly');
