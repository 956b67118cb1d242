-- Stores of objects, documents in them, the URLs that reach them, shares; secrets; webhooks.
-- C reads and writes these tables through SQL of its own (src/documents/presign.c).

CREATE FUNCTION immiiq.object_key_is_valid(key text) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_object_key_is_valid';
COMMENT ON FUNCTION immiiq.object_key_is_valid(text) IS 'false for keys with a leading or double slash, dot segments or control characters, or above 1,024 bytes';

CREATE FUNCTION immiiq.content_type_is_valid(content_type text) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_content_type_is_valid';
COMMENT ON FUNCTION immiiq.content_type_is_valid(text) IS 'true for type/subtype in lower case, with or without parameters';

-- For functions of this part alone: they act for an organisation, whoever is active.
CREATE FUNCTION immiiq.seal_for(org uuid, value text, domain integer) RETURNS enc_text
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_seal_for';
COMMENT ON FUNCTION immiiq.seal_for(uuid, text, integer) IS 'seals a text under an organisation''s key, whoever is active';
CREATE FUNCTION immiiq.open_for(org uuid, value enc_text) RETURNS text
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_open_for';
COMMENT ON FUNCTION immiiq.open_for(uuid, enc_text) IS 'opens a text of an organisation, whoever is active';
CREATE FUNCTION immiiq.record_denial(action text, object text, reason text, org uuid) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_record_denial';
COMMENT ON FUNCTION immiiq.record_denial(text, text, text, uuid) IS 'writes a refusal to the journal, whatever becomes of the transaction';
REVOKE ALL ON FUNCTION immiiq.seal_for(uuid, text, integer), immiiq.open_for(uuid, enc_text),
    immiiq.record_denial(text, text, text, uuid) FROM PUBLIC;

-- ---- stores ----

-- What names a bucket for everybody: on AWS its name alone does, elsewhere the server and the name.
CREATE FUNCTION immiiq.bucket_place(endpoint text, bucket text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE
    WHEN endpoint OPERATOR(pg_catalog.~) '\.amazonaws\.com$' THEN 'aws'
    WHEN endpoint OPERATOR(pg_catalog.~) '\.amazonaws\.com\.cn$' THEN 'aws-cn'
    ELSE pg_catalog.regexp_replace(endpoint, '^https?://', '')
END OPERATOR(pg_catalog.||) '/' OPERATOR(pg_catalog.||) bucket;
COMMENT ON FUNCTION immiiq.bucket_place(text, text) IS 'what a bucket is called beyond its organisation: two stores with the same place are one bucket';

CREATE TABLE immiiq.object_store (
    org_id uuid NOT NULL DEFAULT immiiq.current_org() REFERENCES immiiq.org,
    object_store_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    name text NOT NULL CHECK (name OPERATOR(pg_catalog.<>) ''),
    endpoint text NOT NULL,
    region text NOT NULL CHECK (region OPERATOR(pg_catalog.~) '^[a-z0-9-]{1,32}$'),
    bucket text NOT NULL CHECK (bucket OPERATOR(pg_catalog.~) '^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$'
        AND bucket OPERATOR(pg_catalog.!~) '\.\.'),
    style text NOT NULL DEFAULT 'virtual' CHECK (style IN ('virtual', 'path')),
    url_ttl integer CHECK (url_ttl OPERATOR(pg_catalog.>=) 1 AND url_ttl OPERATOR(pg_catalog.<=) 604800),
    active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (org_id, object_store_id),
    UNIQUE (org_id, name),
    -- https, and plain http to this very machine; a host in lower case, no port that goes without saying, no path.
    CONSTRAINT object_store_endpoint_check CHECK (
        endpoint OPERATOR(pg_catalog.~) '^https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9][0-9]{0,4})?$'
            AND endpoint OPERATOR(pg_catalog.!~) ':443$'
        OR endpoint OPERATOR(pg_catalog.~) '^http://(localhost|127\.0\.0\.1)(:[1-9][0-9]{0,4})?$'
            AND endpoint OPERATOR(pg_catalog.!~) ':80$'),
    -- On AWS only the server of the region: a bucket in front of it would be another bucket's name.
    CONSTRAINT object_store_aws_check CHECK (
        endpoint OPERATOR(pg_catalog.!~) 'amazonaws'
        OR endpoint IN ('https://s3.' OPERATOR(pg_catalog.||) region OPERATOR(pg_catalog.||) '.amazonaws.com',
            'https://s3.dualstack.' OPERATOR(pg_catalog.||) region OPERATOR(pg_catalog.||) '.amazonaws.com',
            'https://s3-fips.' OPERATOR(pg_catalog.||) region OPERATOR(pg_catalog.||) '.amazonaws.com',
            'https://s3.' OPERATOR(pg_catalog.||) region OPERATOR(pg_catalog.||) '.amazonaws.com.cn',
            'https://s3.amazonaws.com')),
    CONSTRAINT object_store_r2_check CHECK (
        endpoint OPERATOR(pg_catalog.!~) 'cloudflarestorage'
        OR endpoint OPERATOR(pg_catalog.~) '^https://[0-9a-f]{32}(\.(eu|fedramp))?\.r2\.cloudflarestorage\.com$'),
    -- A certificate for *.host does not cover a.b.host.
    CONSTRAINT object_store_dots_check CHECK (style OPERATOR(pg_catalog.=) 'path' OR bucket OPERATOR(pg_catalog.!~) '\.')
);
COMMENT ON TABLE immiiq.object_store IS 'buckets of an organisation; url_ttl is the most seconds that a URL lasts there';

CREATE TABLE immiiq.bucket (
    place text NOT NULL PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES immiiq.org,
    claimed_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE immiiq.bucket IS 'which organisation a bucket belongs to; never given to another';

-- Not under audit: an entry would hold the secret a second time. Who set it, and when, is what object_store''s row says.
CREATE TABLE immiiq.store_credential (
    org_id uuid NOT NULL,
    object_store_id uuid NOT NULL,
    credentials enc_text(901, sealed) NOT NULL,
    expires_at timestamptz,
    set_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    set_by uuid,
    PRIMARY KEY (org_id, object_store_id),
    FOREIGN KEY (org_id, object_store_id) REFERENCES immiiq.object_store (org_id, object_store_id)
);
COMMENT ON TABLE immiiq.store_credential IS 'credentials of stores, sealed: access key, secret and session token, a line each';

CREATE FUNCTION immiiq.keep_store() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    owner uuid;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.org_id, NEW.object_store_id, NEW.endpoint, NEW.bucket) IS DISTINCT FROM (OLD.org_id, OLD.object_store_id, OLD.endpoint, OLD.bucket) THEN
            RAISE EXCEPTION 'a store''s endpoint and bucket stay as they are' USING ERRCODE = 'insufficient_privilege',
                HINT = 'Make another store.';
        END IF;
        RETURN NULL;
    END IF;
    -- Rows that a restore brings, with nobody active, come with those of immiiq.bucket.
    IF immiiq.current_org() IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO immiiq.bucket (place, org_id) VALUES (immiiq.bucket_place(NEW.endpoint, NEW.bucket), NEW.org_id)
        ON CONFLICT DO NOTHING;
    SELECT b.org_id INTO owner FROM immiiq.bucket AS b WHERE b.place = immiiq.bucket_place(NEW.endpoint, NEW.bucket);
    IF owner IS DISTINCT FROM NEW.org_id THEN
        RAISE EXCEPTION 'bucket cannot be used' USING ERRCODE = 'insufficient_privilege',
            HINT = 'Every organisation has buckets of its own.';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION immiiq.keep_store() IS 'trigger: a bucket belongs to one organisation, and a store stays at its bucket';
REVOKE ALL ON FUNCTION immiiq.keep_store() FROM PUBLIC;
-- After the row has passed row security: nobody learns of a bucket by writing for another organisation.
CREATE TRIGGER keep_store AFTER INSERT OR UPDATE ON immiiq.object_store FOR EACH ROW EXECUTE FUNCTION immiiq.keep_store();

-- ---- documents ----

CREATE TABLE immiiq.document (
    org_id uuid NOT NULL DEFAULT immiiq.current_org() REFERENCES immiiq.org,
    document_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    client_id uuid,
    object_store_id uuid NOT NULL,
    key text NOT NULL CHECK (immiiq.object_key_is_valid(key)),
    object_version text CHECK (object_version OPERATOR(pg_catalog.~) '^[!-~]+$' AND pg_catalog.length(object_version) OPERATOR(pg_catalog.<=) 1024),
    filename enc_text(902, sealed),
    content_type text CHECK (immiiq.content_type_is_valid(content_type)),
    content_length bigint CHECK (content_length OPERATOR(pg_catalog.>=) 0),
    content_sha256 bytea CHECK (pg_catalog.octet_length(content_sha256) OPERATOR(pg_catalog.=) 32),
    hold boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (org_id, document_id),
    FOREIGN KEY (org_id, object_store_id) REFERENCES immiiq.object_store (org_id, object_store_id)
);
COMMENT ON TABLE immiiq.document IS 'documents: which object of which store, whose client';
CREATE INDEX document_client_idx ON immiiq.document (org_id, client_id);

-- Every key that was ever a document's, so that no later row can reach the object of an earlier one.
CREATE TABLE immiiq.document_key (
    org_id uuid NOT NULL REFERENCES immiiq.org,
    document_id uuid NOT NULL,
    place text NOT NULL,
    key text NOT NULL,
    PRIMARY KEY (org_id, document_id),
    UNIQUE (place, key)
);
COMMENT ON TABLE immiiq.document_key IS 'keys that documents have or had; never given to another document';

CREATE FUNCTION immiiq.prepare_document() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.key := coalesce(NEW.key, NEW.document_id::text);
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' THEN
        IF OLD.hold THEN
            RAISE EXCEPTION 'document is under hold' USING ERRCODE = 'insufficient_privilege';
        END IF;
        RETURN OLD;
    END IF;
    IF (NEW.document_id, NEW.object_store_id, NEW.key) IS DISTINCT FROM (OLD.document_id, OLD.object_store_id, OLD.key) THEN
        RAISE EXCEPTION 'a document stays at its key' USING ERRCODE = 'insufficient_privilege',
            HINT = 'Make another document.';
    END IF;
    IF NEW.hold <> OLD.hold AND immiiq.current_org() IS NOT NULL
        AND NOT immiiq.visible('settings', 'update', NEW.org_id, NULL, NULL, NULL, NULL)
    THEN
        RAISE EXCEPTION 'module settings is needed to place or release a hold' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION immiiq.prepare_document() IS 'trigger: a document has a key, keeps it, and is not deleted under hold';
REVOKE ALL ON FUNCTION immiiq.prepare_document() FROM PUBLIC;
CREATE TRIGGER prepare_document BEFORE INSERT OR UPDATE OR DELETE ON immiiq.document
    FOR EACH ROW EXECUTE FUNCTION immiiq.prepare_document();

-- After the row has passed row security. A row that names an object gives access to it, so the name must be the row's own.
CREATE FUNCTION immiiq.claim_key() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    here text;
BEGIN
    -- Rows that a restore brings, with nobody active, come with those of immiiq.document_key.
    IF immiiq.current_org() IS NULL THEN
        RETURN NULL;
    END IF;
    -- Who sees some clients only could otherwise reach what an importer left at a key that can be guessed.
    IF immiiq.current_member() IS NOT NULL AND NOT NEW.document_id::text = ANY (string_to_array(NEW.key, '/'))
        AND NOT EXISTS (SELECT FROM immiiq.member AS m
                        WHERE m.org_id = NEW.org_id AND m.member_id = immiiq.current_member() AND m.scope = 'all')
    THEN
        RAISE EXCEPTION 'key does not hold the document''s id as a segment' USING ERRCODE = 'insufficient_privilege',
            HINT = 'Leave the key out, or write the id between two slashes of it; members with scope all choose freely.';
    END IF;
    SELECT immiiq.bucket_place(s.endpoint, s.bucket) INTO here FROM immiiq.object_store AS s
    WHERE s.org_id = NEW.org_id AND s.object_store_id = NEW.object_store_id;
    INSERT INTO immiiq.document_key (org_id, document_id, place, key) VALUES (NEW.org_id, NEW.document_id, here, NEW.key)
        ON CONFLICT DO NOTHING;
    PERFORM FROM immiiq.document_key AS k
    WHERE k.org_id = NEW.org_id AND k.document_id = NEW.document_id AND k.place = here AND k.key = NEW.key;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'key or id belongs to another document' USING ERRCODE = 'unique_violation';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION immiiq.claim_key() IS 'trigger: no two documents, not even one after the other, have the same object';
REVOKE ALL ON FUNCTION immiiq.claim_key() FROM PUBLIC;
CREATE TRIGGER claim_key AFTER INSERT ON immiiq.document FOR EACH ROW EXECUTE FUNCTION immiiq.claim_key();

-- ---- shares ----

CREATE TABLE immiiq.document_share (
    org_id uuid NOT NULL DEFAULT immiiq.current_org() REFERENCES immiiq.org,
    share_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    document_id uuid NOT NULL,
    client_id uuid,
    recipient enc_text(903, sealed) NOT NULL,
    token_hash bytea NOT NULL UNIQUE CHECK (pg_catalog.octet_length(token_hash) OPERATOR(pg_catalog.=) 32),
    expires_at timestamptz NOT NULL,
    uses_left integer NOT NULL CHECK (uses_left OPERATOR(pg_catalog.>=) 0),
    revoked_at timestamptz,
    shared_by uuid,
    shared_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (org_id, share_id),
    FOREIGN KEY (org_id, document_id) REFERENCES immiiq.document (org_id, document_id) ON DELETE CASCADE
);
COMMENT ON TABLE immiiq.document_share IS 'who outside may fetch which document, until when and how often; a token is stored as its SHA-256 only';
COMMENT ON COLUMN immiiq.document_share.client_id IS 'client of the document, which decides who sees the share';
CREATE INDEX document_share_document_idx ON immiiq.document_share (org_id, document_id);
CREATE INDEX document_share_client_idx ON immiiq.document_share (org_id, client_id);

-- ---- what was opened ----

CREATE TABLE immiiq.document_event (
    org_id uuid NOT NULL REFERENCES immiiq.org,
    event_id uuid NOT NULL,
    at timestamptz NOT NULL,
    action text NOT NULL CHECK (action IN ('open', 'download', 'head', 'put', 'post', 'delete', 'share', 'redeem', 'revoke')),
    document_id uuid NOT NULL,
    client_id uuid,
    share_id uuid,
    expires_at timestamptz,
    member_id uuid,
    session_id uuid,
    actor text,
    login_name name NOT NULL,
    client_ip inet,
    user_agent text,
    PRIMARY KEY (org_id, event_id)
);
COMMENT ON TABLE immiiq.document_event IS 'every URL, share and redemption; event_id is the grant that the URL carries; append-only';
CREATE INDEX document_event_at_idx ON immiiq.document_event (org_id, at);
CREATE INDEX document_event_client_idx ON immiiq.document_event (client_id) WHERE client_id IS NOT NULL;
CREATE INDEX document_event_member_idx ON immiiq.document_event (member_id) WHERE member_id IS NOT NULL;
CREATE INDEX document_event_session_idx ON immiiq.document_event (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX document_event_address_idx ON immiiq.document_event (client_ip) WHERE client_ip IS NOT NULL;
CREATE TRIGGER document_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON immiiq.document_event
    FOR EACH STATEMENT EXECUTE FUNCTION immiiq.refuse_change();
ALTER TABLE immiiq.document_event ENABLE ALWAYS TRIGGER document_event_append_only;

-- Who reads what, in branches as those of immiiq.journal_visible.
CREATE VIEW immiiq.document_event_visible WITH (security_barrier) AS
    SELECT e.* FROM immiiq.document_event AS e WHERE immiiq.journal_reader()
    UNION ALL
    SELECT e.* FROM immiiq.document_event AS e
    WHERE NOT immiiq.journal_reader() AND e.org_id OPERATOR(pg_catalog.=) immiiq.journal_org();
COMMENT ON VIEW immiiq.document_event_visible IS 'entries of immiiq.document_event that the caller may read';
REVOKE ALL ON immiiq.document_event_visible FROM PUBLIC;

-- What stands in the journal is of transactions that were rolled back after the URL was out.
CREATE VIEW immiiq.document_access AS
    SELECT e.at, e.org_id, e.action, e.document_id, e.client_id, e.event_id AS grant_id, e.share_id, e.expires_at, e.member_id,
           e.session_id, e.actor, e.login_name, e.client_ip, e.user_agent, NULL::text AS remark
    FROM immiiq.document_event_visible AS e
    UNION ALL
    SELECT j.at, j.org_id, pg_catalog.substring(j.reason, '^[a-z]+'),
           pg_catalog.substring(j.object, '^document ([0-9a-f-]{36})$')::uuid, NULL,
           pg_catalog.substring(j.reason, 'grant ([0-9a-f-]{36})')::uuid, NULL, NULL, j.member_id,
           j.session_id, j.actor, j.login_name, j.client_ip, j.user_agent, j.reason
    FROM immiiq.journal_visible AS j
    WHERE j.kind OPERATOR(pg_catalog.=) 'document';
COMMENT ON VIEW immiiq.document_access IS 'every open, download, upload and share of documents, rolled back or not';
REVOKE ALL ON immiiq.document_access FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'SELECT', 'TABLE immiiq.document_access'),
    ('auditor', 'SELECT', 'TABLE immiiq.document_access');

-- ---- row security and audit of these tables ----

-- Documents and shares follow the client; stores are the settings'; events are the reports'.
CREATE POLICY immiiq_select ON immiiq.object_store FOR SELECT
    USING (immiiq.visible('settings', 'select', org_id, NULL, NULL, NULL, NULL));
CREATE POLICY immiiq_insert ON immiiq.object_store FOR INSERT
    WITH CHECK (immiiq.visible('settings', 'insert', org_id, NULL, NULL, NULL, NULL));
CREATE POLICY immiiq_update ON immiiq.object_store FOR UPDATE
    USING (immiiq.visible('settings', 'update', org_id, NULL, NULL, NULL, NULL))
    WITH CHECK (immiiq.visible('settings', 'update', org_id, NULL, NULL, NULL, NULL));

CREATE POLICY immiiq_select ON immiiq.document FOR SELECT
    USING (immiiq.visible('documents', 'select', org_id, client_id, NULL, NULL, NULL));
CREATE POLICY immiiq_insert ON immiiq.document FOR INSERT
    WITH CHECK (immiiq.visible('documents', 'insert', org_id, client_id, NULL, NULL, NULL));
CREATE POLICY immiiq_update ON immiiq.document FOR UPDATE
    USING (immiiq.visible('documents', 'update', org_id, client_id, NULL, NULL, NULL))
    WITH CHECK (immiiq.visible('documents', 'update', org_id, client_id, NULL, NULL, NULL));
CREATE POLICY immiiq_delete ON immiiq.document FOR DELETE
    USING (immiiq.visible('documents', 'delete', org_id, client_id, NULL, NULL, NULL));

CREATE POLICY immiiq_select ON immiiq.document_share FOR SELECT
    USING (immiiq.visible('documents', 'select', org_id, client_id, NULL, NULL, NULL));
CREATE POLICY immiiq_select ON immiiq.document_event FOR SELECT
    USING (immiiq.visible('reports', 'select', org_id, NULL, NULL, NULL, NULL));

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['object_store', 'document', 'document_share', 'document_event'] LOOP
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE pg_catalog.format('CREATE TRIGGER "00_immiiq_capture" AFTER INSERT OR UPDATE OR DELETE ON immiiq.%I
            FOR EACH ROW EXECUTE FUNCTION immiiq.capture()', name);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ENABLE ALWAYS TRIGGER "00_immiiq_capture"', name);
        EXECUTE pg_catalog.format('CREATE TRIGGER immiiq_truncate BEFORE TRUNCATE ON immiiq.%I
            FOR EACH STATEMENT EXECUTE FUNCTION immiiq.refuse_truncate()', name);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ENABLE ALWAYS TRIGGER immiiq_truncate', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['object_store', 'bucket', 'store_credential', 'document', 'document_key', 'document_share', 'document_event'] LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON immiiq.%I FROM PUBLIC', name);
        PERFORM pg_catalog.pg_extension_config_dump(pg_catalog.format('immiiq.%I', name)::pg_catalog.regclass, '');
    END LOOP;
END
$$;
CREATE STATISTICS immiiq.document_client_immiiq (dependencies) ON org_id, client_id FROM immiiq.document;
INSERT INTO immiiq.privilege VALUES
    ('application', 'SELECT, INSERT, UPDATE', 'TABLE immiiq.object_store'),
    ('operator', 'SELECT, INSERT, UPDATE', 'TABLE immiiq.object_store'),
    ('application', 'SELECT, INSERT, UPDATE, DELETE', 'TABLE immiiq.document'),
    ('operator', 'SELECT, INSERT, UPDATE, DELETE', 'TABLE immiiq.document'),
    -- All but the token's hash.
    ('application', 'SELECT (org_id, share_id, document_id, client_id, recipient, expires_at, uses_left, revoked_at, shared_by, shared_at)',
     'TABLE immiiq.document_share');

-- ---- URLs ----

CREATE FUNCTION immiiq.presign_get(document uuid, ttl interval DEFAULT NULL, shown boolean DEFAULT false,
        OUT url text, OUT expires_at timestamptz, OUT grant_id uuid)
    RETURNS record LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_presign_get';
COMMENT ON FUNCTION immiiq.presign_get(uuid, interval, boolean) IS 'URL to fetch a document, as a download or shown by the browser';

CREATE FUNCTION immiiq.presign_head(document uuid, ttl interval DEFAULT NULL,
        OUT url text, OUT expires_at timestamptz, OUT grant_id uuid)
    RETURNS record LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_presign_head';
COMMENT ON FUNCTION immiiq.presign_head(uuid, interval) IS 'URL to ask for a document''s size and type';

CREATE FUNCTION immiiq.presign_put(document uuid, content_type text, content_length bigint, ttl interval DEFAULT NULL,
        OUT url text, OUT headers jsonb, OUT expires_at timestamptz, OUT grant_id uuid)
    RETURNS record LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_presign_put';
COMMENT ON FUNCTION immiiq.presign_put(uuid, text, bigint, interval) IS 'URL to upload a document of exactly this type and length; the headers must be sent with it';

CREATE FUNCTION immiiq.presign_post(document uuid, content_type text, min_length bigint, max_length bigint, ttl interval DEFAULT NULL,
        OUT url text, OUT fields jsonb, OUT expires_at timestamptz, OUT grant_id uuid)
    RETURNS record LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_presign_post';
COMMENT ON FUNCTION immiiq.presign_post(uuid, text, bigint, bigint, interval) IS 'fields of a browser''s form that uploads a document of this type (image/* for a family) and size';

CREATE FUNCTION immiiq.presign_delete(document uuid, ttl interval DEFAULT NULL,
        OUT url text, OUT expires_at timestamptz, OUT grant_id uuid)
    RETURNS record LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_presign_delete';
COMMENT ON FUNCTION immiiq.presign_delete(uuid, interval) IS 'URL to delete a document''s object, for a minute unless told otherwise';

CREATE FUNCTION immiiq.presign_share(org uuid, document uuid, share uuid,
        OUT url text, OUT expires_at timestamptz, OUT grant_id uuid)
    RETURNS record LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_presign_share';
COMMENT ON FUNCTION immiiq.presign_share(uuid, uuid, uuid) IS 'URL for who has redeemed a share; used by immiiq.redeem_share';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['presign_get(uuid, interval, boolean)', 'presign_head(uuid, interval)',
        'presign_put(uuid, text, bigint, interval)', 'presign_post(uuid, text, bigint, bigint, interval)',
        'presign_delete(uuid, interval)']
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION immiiq.%s FROM PUBLIC', name);
        INSERT INTO immiiq.privilege VALUES
            ('application', 'EXECUTE', pg_catalog.format('FUNCTION immiiq.%s', name)),
            ('operator', 'EXECUTE', pg_catalog.format('FUNCTION immiiq.%s', name));
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION immiiq.presign_share(uuid, uuid, uuid) FROM PUBLIC;

CREATE FUNCTION immiiq.set_store_credentials(object_store uuid, access_key_id text, secret_access_key text,
        session_token text DEFAULT NULL, expires_at timestamptz DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    org constant uuid := immiiq.current_org();
BEGIN
    IF NOT coalesce(immiiq.visible('settings', 'update', org, NULL, NULL, NULL, NULL), false)
        OR NOT EXISTS (SELECT FROM immiiq.object_store AS s
                       WHERE s.org_id = org AND s.object_store_id = set_store_credentials.object_store)
    THEN
        RAISE EXCEPTION 'store is not within reach of who is active' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF coalesce(access_key_id, '') !~ '^[!-.0-~]+$' OR coalesce(secret_access_key, '') !~ '^[!-~]+$'
        OR session_token !~ '^[!-~]+$' OR length(access_key_id) > 256 OR length(secret_access_key) > 256 OR length(session_token) > 4096
    THEN
        RAISE EXCEPTION 'credentials are printable ASCII without spaces' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO immiiq.store_credential AS c (org_id, object_store_id, credentials, expires_at, set_by)
    VALUES (org, object_store,
            immiiq.seal_for(org, concat(access_key_id, E'\n', secret_access_key, E'\n', session_token), 901),
            set_store_credentials.expires_at, immiiq.current_member())
    ON CONFLICT (org_id, object_store_id) DO UPDATE
        SET credentials = excluded.credentials, expires_at = excluded.expires_at, set_at = excluded.set_at, set_by = excluded.set_by;
END
$$;
COMMENT ON FUNCTION immiiq.set_store_credentials(uuid, text, text, text, timestamptz) IS 'gives a store its credentials, which nobody reads again';
REVOKE ALL ON FUNCTION immiiq.set_store_credentials(uuid, text, text, text, timestamptz) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'EXECUTE', 'FUNCTION immiiq.set_store_credentials(uuid, text, text, text, timestamptz)'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.set_store_credentials(uuid, text, text, text, timestamptz)');

-- ---- shares ----

-- Whoever may write documents of this client and sees this one may share it: both asked as the caller.
CREATE POLICY immiiq_insert ON immiiq.document_share FOR INSERT
    WITH CHECK (immiiq.visible('documents', 'insert', org_id, client_id, NULL, NULL, NULL)
        AND EXISTS (SELECT FROM immiiq.document AS d
                    WHERE d.org_id OPERATOR(pg_catalog.=) document_share.org_id
                        AND d.document_id OPERATOR(pg_catalog.=) document_share.document_id
                        AND d.client_id IS NOT DISTINCT FROM document_share.client_id));
CREATE POLICY immiiq_update ON immiiq.document_share FOR UPDATE
    USING (immiiq.visible('documents', 'update', org_id, client_id, NULL, NULL, NULL))
    WITH CHECK (immiiq.visible('documents', 'update', org_id, client_id, NULL, NULL, NULL));
ALTER TABLE immiiq.document_share
    ADD portal_client_id uuid,
    ADD CHECK (expires_at OPERATOR(pg_catalog.<=) (shared_at OPERATOR(pg_catalog.+) interval '90 days')),
    ADD CHECK (uses_left OPERATOR(pg_catalog.<=) 100);
COMMENT ON COLUMN immiiq.document_share.portal_client_id IS 'the client whose portal session alone may use the share; null for who has the token';
INSERT INTO immiiq.privilege VALUES
    ('operator', 'SELECT (org_id, share_id, document_id, client_id, recipient, expires_at, uses_left, revoked_at, shared_by, shared_at, portal_client_id)',
     'TABLE immiiq.document_share');
UPDATE immiiq.privilege SET privileges = 'SELECT (org_id, share_id, document_id, client_id, recipient, expires_at, uses_left, revoked_at, '
    'shared_by, shared_at, portal_client_id), INSERT (share_id, document_id, client_id, recipient, token_hash, expires_at, uses_left, '
    'portal_client_id), UPDATE (revoked_at)'
WHERE kind = 'application' AND object = 'TABLE immiiq.document_share';

-- What a share is, is not for its maker to say; and each change of it is an event.
CREATE FUNCTION immiiq.prepare_share() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' AND immiiq.current_org() IS NOT NULL THEN
        NEW.shared_by := immiiq.current_member();
        NEW.shared_at := now();
        NEW.revoked_at := NULL;
    ELSIF TG_OP = 'UPDATE' AND OLD.revoked_at IS NOT NULL THEN
        NEW.revoked_at := OLD.revoked_at;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION immiiq.prepare_share() IS 'trigger: who shared and when; what is revoked stays so';
REVOKE ALL ON FUNCTION immiiq.prepare_share() FROM PUBLIC;
CREATE TRIGGER prepare_share BEFORE INSERT OR UPDATE ON immiiq.document_share FOR EACH ROW EXECUTE FUNCTION immiiq.prepare_share();

CREATE FUNCTION immiiq.record_share() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF immiiq.current_org() IS NULL OR TG_OP = 'UPDATE' AND NEW.revoked_at IS NOT DISTINCT FROM OLD.revoked_at THEN
        RETURN NULL;
    END IF;
    INSERT INTO immiiq.document_event (org_id, event_id, at, action, document_id, client_id, share_id, expires_at, member_id, session_id, actor,
                                       login_name, client_ip, user_agent)
    VALUES (NEW.org_id, gen_random_uuid(), clock_timestamp(), CASE TG_OP WHEN 'INSERT' THEN 'share' ELSE 'revoke' END, NEW.document_id,
            NEW.client_id, NEW.share_id, NEW.expires_at, immiiq.current_member(), immiiq.current_session(), immiiq.current_actor(),
            session_user, immiiq.current_address(), NULL);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION immiiq.record_share() IS 'trigger: a share made or revoked is an event';
REVOKE ALL ON FUNCTION immiiq.record_share() FROM PUBLIC;
CREATE TRIGGER record_share AFTER INSERT OR UPDATE ON immiiq.document_share FOR EACH ROW EXECUTE FUNCTION immiiq.record_share();

CREATE FUNCTION immiiq.new_share_token() RETURNS text
    LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT immiiq.new_token('d') $$;
COMMENT ON FUNCTION immiiq.new_share_token() IS 'a fresh token of a share; used by immiiq.share_document';
REVOKE ALL ON FUNCTION immiiq.new_share_token() FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('application', 'EXECUTE', 'FUNCTION immiiq.new_share_token()');

CREATE FUNCTION immiiq.share_document(document uuid, recipient text, valid interval DEFAULT '7 days', uses integer DEFAULT 1,
        portal_client uuid DEFAULT NULL, OUT share_id uuid, OUT token text, OUT expires_at timestamptz)
    RETURNS record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    shared record;
BEGIN
    IF coalesce(recipient, '') = '' OR length(recipient) > 320 OR recipient ~ '[[:cntrl:]]'
        OR valid IS NULL OR valid <= interval '0' OR valid > interval '90 days' OR uses IS NULL OR uses < 1 OR uses > 100
    THEN
        RAISE EXCEPTION 'a share has a recipient, lasts up to 90 days and has 1 to 100 uses' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT d.org_id, d.client_id INTO shared FROM immiiq.document AS d
    WHERE d.org_id = immiiq.current_org() AND d.document_id = share_document.document;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'document is not within reach of who is active' USING ERRCODE = 'insufficient_privilege';
    END IF;
    -- The portal shows a client their own documents, and those of nobody in particular.
    IF portal_client <> shared.client_id THEN
        RAISE EXCEPTION 'document is another client''s' USING ERRCODE = 'insufficient_privilege';
    END IF;
    token := immiiq.new_share_token();
    share_id := gen_random_uuid();
    expires_at := now() + valid;
    INSERT INTO immiiq.document_share (share_id, document_id, client_id, recipient, token_hash, expires_at, uses_left, portal_client_id)
    VALUES (share_id, document, shared.client_id, recipient, sha256(convert_to(token, 'UTF8')), expires_at, uses, portal_client);
END
$$;
COMMENT ON FUNCTION immiiq.share_document(uuid, text, interval, integer, uuid) IS 'lets somebody outside fetch a document a number of times, with the token or in the portal';
REVOKE ALL ON FUNCTION immiiq.share_document(uuid, text, interval, integer, uuid) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('application', 'EXECUTE', 'FUNCTION immiiq.share_document(uuid, text, interval, integer, uuid)');

CREATE FUNCTION immiiq.revoke_share(share uuid) RETURNS boolean
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE immiiq.document_share AS s SET revoked_at = now()
    WHERE s.org_id = immiiq.current_org() AND s.share_id = revoke_share.share AND s.revoked_at IS NULL;
    IF NOT FOUND THEN
        PERFORM immiiq.note_unreachable('revoke_share');
        RETURN false;
    END IF;
    RETURN true;
END
$$;
COMMENT ON FUNCTION immiiq.revoke_share(uuid) IS 'ends a share; false when there is none to end';
REVOKE ALL ON FUNCTION immiiq.revoke_share(uuid) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('application', 'EXECUTE', 'FUNCTION immiiq.revoke_share(uuid)');

-- The share is used first: of two that come at once, one waits for the other and finds what it left.
CREATE FUNCTION immiiq.redeem_share(token text, OUT verdict text, OUT url text, OUT expires_at timestamptz)
    RETURNS record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    used record;
    signed record;
BEGIN
    UPDATE immiiq.document_share AS s SET uses_left = s.uses_left - 1
    WHERE s.token_hash = immiiq.token_digest('d', token) AND s.uses_left > 0 AND s.revoked_at IS NULL AND s.expires_at > clock_timestamp()
        AND (s.portal_client_id IS NULL OR s.portal_client_id = immiiq.current_client() AND s.org_id = immiiq.current_org())
        AND EXISTS (SELECT FROM immiiq.org AS o WHERE o.org_id = s.org_id AND o.active)
        AND (s.shared_by IS NULL
             OR EXISTS (SELECT FROM immiiq.member AS m WHERE m.org_id = s.org_id AND m.member_id = s.shared_by AND m.active))
    RETURNING s.org_id, s.document_id, s.share_id INTO used;
    IF NOT FOUND THEN
        PERFORM immiiq.record_denial('redeem_share', 'immiiq.document_share',
            (SELECT CASE WHEN s.revoked_at IS NOT NULL THEN 'revoked' WHEN s.expires_at <= clock_timestamp() THEN 'expired'
                         WHEN s.uses_left = 0 THEN 'used up' ELSE 'not for who asked' END || ': share ' || s.share_id
             FROM immiiq.document_share AS s WHERE s.token_hash = immiiq.token_digest('d', token)
             UNION ALL SELECT 'unknown' LIMIT 1),
            (SELECT s.org_id FROM immiiq.document_share AS s WHERE s.token_hash = immiiq.token_digest('d', token)));
        verdict := 'denied';
        RETURN;
    END IF;
    SELECT * INTO signed FROM immiiq.presign_share(used.org_id, used.document_id, used.share_id);
    verdict := 'ok';
    url := signed.url;
    expires_at := signed.expires_at;
END
$$;
COMMENT ON FUNCTION immiiq.redeem_share(text) IS 'a URL of 60 seconds for who has a share''s token; ok or denied';
REVOKE ALL ON FUNCTION immiiq.redeem_share(text) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('application', 'EXECUTE', 'FUNCTION immiiq.redeem_share(text)');

-- What a client finds in the portal.
CREATE VIEW immiiq.shared_document WITH (security_barrier) AS
    SELECT s.share_id, s.document_id, d.filename, d.content_type, d.content_length, s.expires_at, s.uses_left
    FROM immiiq.document_share AS s
        JOIN immiiq.document AS d ON d.org_id OPERATOR(pg_catalog.=) s.org_id AND d.document_id OPERATOR(pg_catalog.=) s.document_id
    WHERE s.org_id OPERATOR(pg_catalog.=) immiiq.current_org() AND s.portal_client_id OPERATOR(pg_catalog.=) immiiq.current_client()
        AND s.revoked_at IS NULL AND s.uses_left OPERATOR(pg_catalog.>) 0 AND s.expires_at OPERATOR(pg_catalog.>) pg_catalog.now();
COMMENT ON VIEW immiiq.shared_document IS 'documents shared with the client of the active portal session';
REVOKE ALL ON immiiq.shared_document FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('application', 'SELECT', 'TABLE immiiq.shared_document');

CREATE FUNCTION immiiq.open_shared(share uuid, OUT url text, OUT expires_at timestamptz)
    RETURNS record LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    used record;
    signed record;
BEGIN
    UPDATE immiiq.document_share AS s SET uses_left = s.uses_left - 1
    WHERE s.org_id = immiiq.current_org() AND s.share_id = open_shared.share AND s.portal_client_id = immiiq.current_client()
        AND s.uses_left > 0 AND s.revoked_at IS NULL AND s.expires_at > clock_timestamp()
    RETURNING s.org_id, s.document_id, s.share_id INTO used;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'document is not within reach of who is active' USING ERRCODE = 'insufficient_privilege';
    END IF;
    SELECT * INTO signed FROM immiiq.presign_share(used.org_id, used.document_id, used.share_id);
    url := signed.url;
    expires_at := signed.expires_at;
END
$$;
COMMENT ON FUNCTION immiiq.open_shared(uuid) IS 'a URL of 60 seconds for the client of the active portal session';
REVOKE ALL ON FUNCTION immiiq.open_shared(uuid) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('application', 'EXECUTE', 'FUNCTION immiiq.open_shared(uuid)');

-- ---- secrets ----

CREATE TABLE immiiq.secret (
    org_id uuid NOT NULL DEFAULT immiiq.current_org() REFERENCES immiiq.org,
    name text NOT NULL CHECK (name OPERATOR(pg_catalog.~) '^[a-z0-9][a-z0-9._-]{0,62}$'),
    version integer NOT NULL,
    set_at timestamptz NOT NULL,
    set_by uuid,
    PRIMARY KEY (org_id, name)
);
COMMENT ON TABLE immiiq.secret IS 'names of an organisation''s secrets, and who set the present version';

-- Not under audit: an entry would hold the secret a second time.
CREATE TABLE immiiq.secret_version (
    org_id uuid NOT NULL,
    name text NOT NULL,
    version integer NOT NULL,
    value enc_text(904, sealed) NOT NULL,
    set_at timestamptz NOT NULL,
    valid_until timestamptz,
    last_used_at timestamptz,
    PRIMARY KEY (org_id, name, version),
    FOREIGN KEY (org_id, name) REFERENCES immiiq.secret (org_id, name) ON DELETE CASCADE
);
COMMENT ON TABLE immiiq.secret_version IS 'values of secrets, sealed; read by functions only';

CREATE FUNCTION immiiq.set_secret(name text, value text, overlap interval DEFAULT '0') RETURNS integer
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    org constant uuid := immiiq.current_org();
    made integer;
BEGIN
    IF NOT coalesce(immiiq.visible('settings', 'update', org, NULL, NULL, NULL, NULL), false) THEN
        RAISE EXCEPTION 'module settings is needed to set a secret' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF coalesce(name, '') !~ '^[a-z0-9][a-z0-9._-]{0,62}$' OR coalesce(value, '') = '' OR length(value) > 16384
        OR overlap IS NULL OR overlap < interval '0' OR overlap > interval '30 days'
    THEN
        RAISE EXCEPTION 'a secret has a name of lower-case letters and digits, up to 16,384 characters, and an overlap of up to 30 days'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO immiiq.secret AS s (org_id, name, version, set_at, set_by)
    VALUES (org, set_secret.name, 1, clock_timestamp(), immiiq.current_member())
    ON CONFLICT ON CONSTRAINT secret_pkey DO UPDATE SET version = s.version + 1, set_at = excluded.set_at, set_by = excluded.set_by
    RETURNING s.version INTO made;
    UPDATE immiiq.secret_version AS v SET valid_until = clock_timestamp() + overlap
    WHERE v.org_id = org AND v.name = set_secret.name AND (v.valid_until IS NULL OR v.valid_until > clock_timestamp() + overlap);
    DELETE FROM immiiq.secret_version AS v
    WHERE v.org_id = org AND v.name = set_secret.name AND v.valid_until <= clock_timestamp();
    INSERT INTO immiiq.secret_version (org_id, name, version, value, set_at)
    VALUES (org, set_secret.name, made, immiiq.seal_for(org, set_secret.value, 904), clock_timestamp());
    RETURN made;
END
$$;
COMMENT ON FUNCTION immiiq.set_secret(text, text, interval) IS 'keeps a secret under a name, the one before valid for as long as overlap says; returns its version';
REVOKE ALL ON FUNCTION immiiq.set_secret(text, text, interval) FROM PUBLIC;

CREATE FUNCTION immiiq.drop_secret(name text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT coalesce(immiiq.visible('settings', 'delete', immiiq.current_org(), NULL, NULL, NULL, NULL), false) THEN
        RAISE EXCEPTION 'module settings is needed to drop a secret' USING ERRCODE = 'insufficient_privilege';
    END IF;
    DELETE FROM immiiq.secret AS s WHERE s.org_id = immiiq.current_org() AND s.name = drop_secret.name;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION immiiq.drop_secret(text) IS 'forgets a secret with all its versions; false when there is none';
REVOKE ALL ON FUNCTION immiiq.drop_secret(text) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'EXECUTE', 'FUNCTION immiiq.set_secret(text, text, interval)'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.set_secret(text, text, interval)'),
    ('application', 'EXECUTE', 'FUNCTION immiiq.drop_secret(text)'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.drop_secret(text)');

-- The time of last use, to the minute, and never waited for.
CREATE FUNCTION immiiq.note_secret_use(org uuid, secret_name text, used integer) RETURNS void
    LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS $$
        UPDATE immiiq.secret_version AS v SET last_used_at = clock_timestamp()
        WHERE v.ctid = ANY (ARRAY(
            SELECT w.ctid FROM immiiq.secret_version AS w
            WHERE w.org_id = org AND w.name = secret_name AND w.version = used
                AND (w.last_used_at IS NULL OR w.last_used_at < clock_timestamp() - interval '1 minute')
            FOR UPDATE SKIP LOCKED))
    $$;
COMMENT ON FUNCTION immiiq.note_secret_use(uuid, text, integer) IS 'notes that a version of a secret was used; used by immiiq.use_secret';
REVOKE ALL ON FUNCTION immiiq.note_secret_use(uuid, text, integer) FROM PUBLIC;

-- For SECURITY DEFINER functions of the DBA's: no role of immiiq's may call it.
CREATE FUNCTION immiiq.use_secret(name text) RETURNS text
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    present record;
BEGIN
    SELECT v.version, v.value INTO present FROM immiiq.secret_version AS v
    WHERE v.org_id = immiiq.current_org() AND v.name = use_secret.name
        AND (v.valid_until IS NULL OR v.valid_until > clock_timestamp())
    ORDER BY v.version DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such secret' USING ERRCODE = 'undefined_object';
    END IF;
    PERFORM immiiq.note_secret_use(immiiq.current_org(), use_secret.name, present.version);
    RETURN immiiq.open_for(immiiq.current_org(), present.value);
END
$$;
COMMENT ON FUNCTION immiiq.use_secret(text) IS 'the present value of a secret of the active organisation, for functions to which it is granted by hand';
REVOKE ALL ON FUNCTION immiiq.use_secret(text) FROM PUBLIC;

CREATE VIEW immiiq.secret_status WITH (security_barrier) AS
    SELECT v.name, v.version, v.set_at, CASE WHEN v.version OPERATOR(pg_catalog.=) s.version THEN s.set_by END AS set_by, v.valid_until, v.last_used_at
    FROM immiiq.secret_version AS v
        JOIN immiiq.secret AS s ON s.org_id OPERATOR(pg_catalog.=) v.org_id AND s.name OPERATOR(pg_catalog.=) v.name
    WHERE v.org_id OPERATOR(pg_catalog.=) immiiq.current_org()
        AND immiiq.visible('settings', 'select', v.org_id, NULL, NULL, NULL, NULL);
COMMENT ON VIEW immiiq.secret_status IS 'secrets of the active organisation without their values: versions, and when they were last used';
REVOKE ALL ON immiiq.secret_status FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'SELECT', 'TABLE immiiq.secret_status'),
    ('operator', 'SELECT', 'TABLE immiiq.secret_status');

-- ---- webhooks ----

CREATE TABLE immiiq.webhook (
    org_id uuid NOT NULL DEFAULT immiiq.current_org() REFERENCES immiiq.org,
    webhook_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid() UNIQUE,
    provider text NOT NULL CHECK (provider IN ('stripe', 'standard')),
    secret text NOT NULL,
    active boolean NOT NULL DEFAULT true,
    PRIMARY KEY (org_id, webhook_id),
    FOREIGN KEY (org_id, secret) REFERENCES immiiq.secret (org_id, name)
);
COMMENT ON TABLE immiiq.webhook IS 'addresses at which an organisation gets events: webhook_id is part of the address, secret the name of what signs them';

CREATE TABLE immiiq.webhook_event (
    org_id uuid NOT NULL,
    webhook_id uuid NOT NULL,
    event_id text NOT NULL,
    type text,
    object_id text,
    object_status text,
    payload enc_text(905, sealed) NOT NULL,
    received_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (org_id, webhook_id, event_id),
    FOREIGN KEY (org_id, webhook_id) REFERENCES immiiq.webhook (org_id, webhook_id)
);
COMMENT ON TABLE immiiq.webhook_event IS 'events that were verified, each once; triggers of your own act on them';
COMMENT ON COLUMN immiiq.webhook_event.object_id IS 'data.object.id of a Stripe event, data.id of another';
COMMENT ON COLUMN immiiq.webhook_event.object_status IS 'data.object.payment_status or data.object.status of a Stripe event, data.status of another';
CREATE TRIGGER webhook_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON immiiq.webhook_event
    FOR EACH STATEMENT EXECUTE FUNCTION immiiq.refuse_change();
ALTER TABLE immiiq.webhook_event ENABLE ALWAYS TRIGGER webhook_event_append_only;

CREATE POLICY immiiq_select ON immiiq.secret FOR SELECT
    USING (immiiq.visible('settings', 'select', org_id, NULL, NULL, NULL, NULL));
CREATE POLICY immiiq_select ON immiiq.webhook FOR SELECT
    USING (immiiq.visible('settings', 'select', org_id, NULL, NULL, NULL, NULL));
CREATE POLICY immiiq_insert ON immiiq.webhook FOR INSERT
    WITH CHECK (immiiq.visible('settings', 'insert', org_id, NULL, NULL, NULL, NULL));
CREATE POLICY immiiq_update ON immiiq.webhook FOR UPDATE
    USING (immiiq.visible('settings', 'update', org_id, NULL, NULL, NULL, NULL))
    WITH CHECK (immiiq.visible('settings', 'update', org_id, NULL, NULL, NULL, NULL));
CREATE POLICY immiiq_select ON immiiq.webhook_event FOR SELECT
    USING (immiiq.visible('billing', 'select', org_id, NULL, NULL, NULL, NULL));

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['secret', 'webhook', 'webhook_event'] LOOP
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE pg_catalog.format('CREATE TRIGGER "00_immiiq_capture" AFTER INSERT OR UPDATE OR DELETE ON immiiq.%I
            FOR EACH ROW EXECUTE FUNCTION immiiq.capture()', name);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ENABLE ALWAYS TRIGGER "00_immiiq_capture"', name);
        EXECUTE pg_catalog.format('CREATE TRIGGER immiiq_truncate BEFORE TRUNCATE ON immiiq.%I
            FOR EACH STATEMENT EXECUTE FUNCTION immiiq.refuse_truncate()', name);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ENABLE ALWAYS TRIGGER immiiq_truncate', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['secret', 'secret_version', 'webhook', 'webhook_event'] LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON immiiq.%I FROM PUBLIC', name);
        PERFORM pg_catalog.pg_extension_config_dump(pg_catalog.format('immiiq.%I', name)::pg_catalog.regclass, '');
    END LOOP;
END
$$;
INSERT INTO immiiq.privilege VALUES
    ('application', 'SELECT', 'TABLE immiiq.secret'),
    ('application', 'SELECT, INSERT, UPDATE', 'TABLE immiiq.webhook'),
    ('operator', 'SELECT, INSERT, UPDATE', 'TABLE immiiq.webhook'),
    ('application', 'SELECT', 'TABLE immiiq.webhook_event'),
    ('operator', 'SELECT', 'TABLE immiiq.webhook_event');

CREATE FUNCTION immiiq.check_stripe(org uuid, secret enc_text, payload bytea, header text) RETURNS text
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_check_stripe';
COMMENT ON FUNCTION immiiq.check_stripe(uuid, enc_text, bytea, text) IS 'valid, or why a Stripe signature is not; used by immiiq.verify_stripe';
CREATE FUNCTION immiiq.check_standard(org uuid, secret enc_text, payload bytea, id text, sent_at text, signature text) RETURNS text
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_check_standard';
COMMENT ON FUNCTION immiiq.check_standard(uuid, enc_text, bytea, text, text, text) IS 'valid, or why a Standard Webhooks signature is not; used by immiiq.verify_webhook';
REVOKE ALL ON FUNCTION immiiq.check_stripe(uuid, enc_text, bytea, text), immiiq.check_standard(uuid, enc_text, bytea, text, text, text) FROM PUBLIC;

-- The verified bytes, claimed: once, however many come at the same time. Those that lose wait for the first to commit.
CREATE FUNCTION immiiq.claim_event(org uuid, webhook uuid, event_id text, payload bytea, event jsonb) RETURNS boolean
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS $$
        WITH claimed AS (
            INSERT INTO immiiq.webhook_event (org_id, webhook_id, event_id, type, object_id, object_status, payload)
            VALUES (org, webhook, claim_event.event_id, event ->> 'type',
                    coalesce(event #>> '{data,object,id}', event #>> '{data,id}'),
                    coalesce(event #>> '{data,object,payment_status}', event #>> '{data,object,status}', event #>> '{data,status}'),
                    immiiq.seal_for(org, coalesce(event::text, encode(payload, 'base64')), 905))
            ON CONFLICT DO NOTHING
            RETURNING 1)
        SELECT EXISTS (SELECT FROM claimed)
    $$;
COMMENT ON FUNCTION immiiq.claim_event(uuid, uuid, text, bytea, jsonb) IS 'writes a verified event down; false when it was there already';
REVOKE ALL ON FUNCTION immiiq.claim_event(uuid, uuid, text, bytea, jsonb) FROM PUBLIC;

-- The body as JSON, null when it is none.
CREATE FUNCTION immiiq.read_event(payload bytea) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN convert_from(payload, 'UTF8')::jsonb;
EXCEPTION
    WHEN data_exception OR program_limit_exceeded OR statement_too_complex THEN
        RETURN NULL;
END
$$;
COMMENT ON FUNCTION immiiq.read_event(bytea) IS 'the body of a verified webhook as JSON, null when it is none';
REVOKE ALL ON FUNCTION immiiq.read_event(bytea) FROM PUBLIC;

CREATE FUNCTION immiiq.verify_event(provider text, webhook uuid, payload bytea, id text, sent_at text, signature text,
        OUT verdict text, OUT event_id text)
    RETURNS record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    hook record;
    candidate record;
    event jsonb;
    reason text := 'unknown webhook';
BEGIN
    SELECT w.org_id, w.webhook_id, w.secret INTO hook FROM immiiq.webhook AS w JOIN immiiq.org AS o ON o.org_id = w.org_id
    WHERE w.webhook_id = verify_event.webhook AND w.provider = verify_event.provider AND w.active AND o.active;
    IF FOUND THEN
        reason := 'no valid secret';
        IF payload IS NULL OR signature IS NULL OR octet_length(payload) > 1048576 OR length(signature) > 8192 OR length(id) > 255 THEN
            reason := 'malformed request';
        ELSE
            FOR candidate IN
                SELECT v.version, v.value FROM immiiq.secret_version AS v
                WHERE v.org_id = hook.org_id AND v.name = hook.secret AND (v.valid_until IS NULL OR v.valid_until > clock_timestamp())
                ORDER BY v.version DESC
            LOOP
                reason := CASE provider WHEN 'stripe' THEN immiiq.check_stripe(hook.org_id, candidate.value, payload, signature)
                                        ELSE immiiq.check_standard(hook.org_id, candidate.value, payload, id, sent_at, signature) END;
                EXIT WHEN reason = 'valid';
            END LOOP;
        END IF;
        IF reason = 'valid' THEN
            event := immiiq.read_event(payload);
            event_id := CASE provider WHEN 'stripe' THEN event ->> 'id' ELSE id END;
            IF coalesce(event_id, '') = '' OR length(event_id) > 255 THEN
                reason := 'event without id';
            END IF;
        END IF;
    END IF;
    IF reason IS DISTINCT FROM 'valid' THEN
        PERFORM immiiq.record_denial('verify_' || CASE provider WHEN 'stripe' THEN 'stripe' ELSE 'webhook' END, 'immiiq.webhook',
                                     coalesce(reason, 'malformed request'), hook.org_id);
        verdict := 'denied';
        event_id := NULL;
        RETURN;
    END IF;
    PERFORM immiiq.note_secret_use(hook.org_id, hook.secret, candidate.version);
    verdict := CASE WHEN immiiq.claim_event(hook.org_id, hook.webhook_id, event_id, payload, event) THEN 'ok' ELSE 'duplicate' END;
END
$$;
COMMENT ON FUNCTION immiiq.verify_event(text, uuid, bytea, text, text, text) IS 'verifies and claims an event; used by immiiq.verify_stripe and verify_webhook';
REVOKE ALL ON FUNCTION immiiq.verify_event(text, uuid, bytea, text, text, text) FROM PUBLIC;

CREATE FUNCTION immiiq.verify_stripe(payload bytea, header text, webhook uuid, OUT verdict text, OUT event_id text)
    RETURNS record LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT v.verdict, v.event_id FROM immiiq.verify_event('stripe', webhook, payload, NULL, NULL, header) AS v $$;
COMMENT ON FUNCTION immiiq.verify_stripe(bytea, text, uuid) IS 'ok, duplicate or denied, for the raw bytes of a request and its Stripe-Signature';
CREATE FUNCTION immiiq.verify_webhook(payload bytea, id text, sent_at text, signature text, webhook uuid, OUT verdict text, OUT event_id text)
    RETURNS record LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT v.verdict, v.event_id FROM immiiq.verify_event('standard', webhook, payload, id, sent_at, signature) AS v $$;
COMMENT ON FUNCTION immiiq.verify_webhook(bytea, text, text, text, uuid) IS 'the same for Standard Webhooks: webhook-id, webhook-timestamp, webhook-signature';
REVOKE ALL ON FUNCTION immiiq.verify_stripe(bytea, text, uuid), immiiq.verify_webhook(bytea, text, text, text, uuid) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'EXECUTE', 'FUNCTION immiiq.verify_stripe(bytea, text, uuid)'),
    ('application', 'EXECUTE', 'FUNCTION immiiq.verify_webhook(bytea, text, text, text, uuid)');

-- ---- versions ----

-- The column that is "the id" of a table: what its primary key has beside the organisation.
CREATE FUNCTION immiiq.id_column(target regclass) RETURNS name
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    org_name name;
    others name[];
BEGIN
    SELECT p.org INTO org_name FROM immiiq.protected_columns(target) AS p;
    IF org_name IS NULL THEN
        RAISE EXCEPTION '% is not protected', target USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    SELECT array_agg(a.attname) INTO others
    FROM pg_constraint AS k JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
    WHERE k.conrelid = target AND k.contype = 'p' AND a.attname <> org_name;
    IF cardinality(others) IS DISTINCT FROM 1 THEN
        RAISE EXCEPTION 'primary key of % has not one column beside the organisation', target USING ERRCODE = 'feature_not_supported';
    END IF;
    RETURN others[1];
END
$$;
COMMENT ON FUNCTION immiiq.id_column(regclass) IS 'the column of a protected table''s primary key that is not the organisation';

CREATE FUNCTION immiiq.history(target regclass, id text)
    RETURNS TABLE (version bigint, at timestamptz, operation text, actor text, member_id uuid, row_image jsonb)
    LANGUAGE plpgsql STABLE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    id_name constant name := immiiq.id_column(target);
BEGIN
    RETURN QUERY
    SELECT l.position, l.at, l.operation, l.actor, l.member_id, coalesce(l.new_row, l.old_row)
    FROM immiiq.audit_log AS l
        JOIN pg_class AS c ON c.oid = target
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE l.org_id = immiiq.current_org() AND l.row_tag = immiiq.row_tag(target, jsonb_build_object(id_name, history.id))
        AND l.table_schema = n.nspname AND l.table_name = c.relname
    ORDER BY l.at, l.position; -- those of one round stand in the order of their transactions' beginnings
    IF NOT FOUND THEN
        PERFORM immiiq.note_unreachable('history');
    END IF;
END
$$;
COMMENT ON FUNCTION immiiq.history(regclass, text) IS 'versions of a row, from the audit: for members with scope all and the module reports, and operators';
REVOKE ALL ON FUNCTION immiiq.history(regclass, text) FROM PUBLIC;

CREATE FUNCTION immiiq.row_as_of(target regclass, id text, moment timestamptz) RETURNS jsonb
    LANGUAGE sql STABLE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN h.operation <> 'delete' THEN h.row_image END FROM immiiq.history(target, id) WITH ORDINALITY AS h
    WHERE h.at <= moment ORDER BY h.ordinality DESC LIMIT 1
$$;
COMMENT ON FUNCTION immiiq.row_as_of(regclass, text, timestamptz) IS 'a row as it was at a time, from the audit; null when it was not there, for whom history() is not, and before the first entry';
REVOKE ALL ON FUNCTION immiiq.row_as_of(regclass, text, timestamptz) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'EXECUTE', 'FUNCTION immiiq.row_as_of(regclass, text, timestamptz)'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.row_as_of(regclass, text, timestamptz)');

CREATE FUNCTION immiiq.restore_version(target regclass, id text, version bigint) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    id_name constant name := immiiq.id_column(target);
    org_name name;
    found_version record;
    all_columns text;
    columns text;
    changed bigint;
BEGIN
    SELECT h.operation, h.row_image INTO found_version FROM immiiq.history(target, restore_version.id) AS h WHERE h.version = restore_version.version;
    IF NOT FOUND OR found_version.row_image IS NULL THEN
        RAISE EXCEPTION 'no such version' USING ERRCODE = 'undefined_object';
    END IF;
    IF found_version.operation = 'delete' THEN
        RAISE EXCEPTION 'in this version the row was deleted' USING ERRCODE = 'invalid_parameter_value', HINT = 'Restore the version before.';
    END IF;
    SELECT p.org INTO org_name FROM immiiq.protected_columns(target) AS p;
    -- What the image has; columns that came later, or that the audit leaves out, keep what they hold.
    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum),
           string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FILTER (WHERE a.attname NOT IN (id_name, org_name))
    INTO all_columns, columns
    FROM pg_attribute AS a
    WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND found_version.row_image ? a.attname::text;
    changed := 0;
    IF columns IS NOT NULL THEN
        EXECUTE format('UPDATE %1$s AS t SET (%2$s) = (SELECT %2$s FROM jsonb_populate_record(NULL::%1$s, $1)) WHERE t.%3$I = $2 AND t.%4$I::text = $3',
                       target, columns, org_name, id_name)
        USING found_version.row_image, immiiq.current_org(), restore_version.id;
        GET DIAGNOSTICS changed = ROW_COUNT;
    END IF;
    IF changed = 0 THEN
        EXECUTE format('INSERT INTO %1$s (%2$s) OVERRIDING SYSTEM VALUE SELECT %2$s FROM jsonb_populate_record(NULL::%1$s, $1)', target, all_columns)
        USING found_version.row_image;
    END IF;
END
$$;
COMMENT ON FUNCTION immiiq.restore_version(regclass, text, bigint) IS 'writes a version of a row again, with the caller''s rights; the audit has it as one more change';
REVOKE ALL ON FUNCTION immiiq.restore_version(regclass, text, bigint) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'EXECUTE', 'FUNCTION immiiq.history(regclass, text)'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.history(regclass, text)'),
    ('application', 'EXECUTE', 'FUNCTION immiiq.restore_version(regclass, text, bigint)'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.restore_version(regclass, text, bigint)');

-- ---- sign-off ----

CREATE FUNCTION immiiq.row_digest(org uuid, image record) RETURNS bytea
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
    SET timezone = 'UTC' SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex'
    AS 'MODULE_PATHNAME', 'immiiq_row_digest';
COMMENT ON FUNCTION immiiq.row_digest(uuid, record) IS 'keyed digest of what a row says; used by immiiq.sign_off';
CREATE FUNCTION immiiq.sign_statement(statement text) RETURNS bytea
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_sign_statement';
COMMENT ON FUNCTION immiiq.sign_statement(text) IS 'the database''s signature over the statement of a sign-off; used by immiiq.sign_off';
CREATE FUNCTION immiiq.sign_off_key() RETURNS bytea
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_sign_off_key';
COMMENT ON FUNCTION immiiq.sign_off_key() IS 'public key of the signatures of sign-offs (Ed25519)';
REVOKE ALL ON FUNCTION immiiq.row_digest(uuid, record), immiiq.sign_statement(text), immiiq.sign_off_key() FROM PUBLIC;

CREATE TABLE immiiq.signature_on_file (
    org_id uuid NOT NULL DEFAULT immiiq.current_org() REFERENCES immiiq.org,
    member_id uuid NOT NULL DEFAULT immiiq.current_member(),
    document_id uuid NOT NULL,
    filed_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (org_id, member_id),
    FOREIGN KEY (org_id, member_id) REFERENCES immiiq.member (org_id, member_id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, document_id) REFERENCES immiiq.document (org_id, document_id)
);
COMMENT ON TABLE immiiq.signature_on_file IS 'the document that shows a member''s signature; only members who filed theirs sign off';

CREATE TABLE immiiq.sign_off (
    org_id uuid NOT NULL DEFAULT immiiq.current_org() REFERENCES immiiq.org,
    sign_off_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    table_schema name NOT NULL,
    table_name name NOT NULL,
    row_id text NOT NULL,
    step integer NOT NULL,
    meaning text NOT NULL CHECK (meaning OPERATOR(pg_catalog.<>) '' AND pg_catalog.length(meaning) OPERATOR(pg_catalog.<=) 200),
    member_id uuid NOT NULL,
    document_id uuid NOT NULL,
    signed_at timestamptz NOT NULL,
    digest bytea NOT NULL,
    previous uuid,
    signature bytea NOT NULL,
    PRIMARY KEY (org_id, sign_off_id),
    UNIQUE (org_id, table_schema, table_name, row_id, digest, step),
    UNIQUE (org_id, table_schema, table_name, row_id, digest, member_id)
);
COMMENT ON TABLE immiiq.sign_off IS 'who signed which version of which row, meaning what; append-only';
COMMENT ON COLUMN immiiq.sign_off.step IS 'the how-manieth signature of this version: each of another member';
COMMENT ON COLUMN immiiq.sign_off.previous IS 'the signature of this version before';
CREATE TRIGGER sign_off_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON immiiq.sign_off
    FOR EACH STATEMENT EXECUTE FUNCTION immiiq.refuse_change();
ALTER TABLE immiiq.sign_off ENABLE ALWAYS TRIGGER sign_off_append_only;

-- The present digest of a row that the caller may see by the table's own policies; null for any other.
CREATE FUNCTION immiiq.digest_of(target regclass, id text) RETURNS bytea
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    result bytea;
    seen text;
BEGIN
    SELECT string_agg('(' || pg_get_expr(p.polqual, p.polrelid) || ')', ' AND ') INTO seen
    FROM pg_policy AS p WHERE p.polrelid = target AND p.polcmd IN ('r', '*') AND p.polqual IS NOT NULL;
    -- With the owner's rights: policies are somebody's SQL.
    EXECUTE format('SELECT immiiq.row_digest($1, o.image) FROM immiiq.as_owner($2, $3, $1, $4) AS o (image %s)', target)
    INTO result
    USING immiiq.current_org(), target,
        format('SELECT immiiq_row FROM %s AS immiiq_row WHERE %I = $1 AND %I::text = $2 AND %s', target,
               (immiiq.protected_columns(target)).org, immiiq.id_column(target), seen),
        digest_of.id;
    RETURN result;
END
$$;
COMMENT ON FUNCTION immiiq.digest_of(regclass, text) IS 'digest of a row as it is, null when who is active does not see it; used by immiiq.sign_off';
REVOKE ALL ON FUNCTION immiiq.digest_of(regclass, text) FROM PUBLIC;

CREATE FUNCTION immiiq.sign_off_statement(s immiiq.sign_off) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
    AS $$
        SELECT jsonb_build_array('immiiq sign-off v1', s.org_id, s.sign_off_id, s.table_schema, s.table_name, s.row_id, s.step, s.meaning,
                                 s.member_id, s.document_id, s.signed_at, encode(s.digest, 'hex'), s.previous)::text
    $$;
COMMENT ON FUNCTION immiiq.sign_off_statement(immiiq.sign_off) IS 'the text that a sign-off''s signature is over';

CREATE FUNCTION immiiq.stamp_sign_off() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target constant regclass := to_regclass(format('%I.%I', NEW.table_schema, NEW.table_name));
BEGIN
    -- Rows that a restore brings.
    IF immiiq.current_org() IS NULL THEN
        RETURN NEW;
    END IF;
    IF immiiq.current_actor() IS DISTINCT FROM 'member' OR NOT immiiq.has_permission('sign_off') THEN
        RAISE EXCEPTION 'permission sign_off is needed to sign' USING ERRCODE = 'insufficient_privilege';
    END IF;
    NEW.org_id := immiiq.current_org();
    NEW.member_id := immiiq.current_member();
    NEW.document_id := (SELECT f.document_id FROM immiiq.signature_on_file AS f WHERE f.org_id = NEW.org_id AND f.member_id = NEW.member_id);
    IF NEW.document_id IS NULL THEN
        RAISE EXCEPTION 'no signature of this member is on file' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Insert one into immiiq.signature_on_file.';
    END IF;
    NEW.digest := immiiq.digest_of(target, NEW.row_id);
    IF NEW.digest IS NULL THEN
        RAISE EXCEPTION 'row is not within reach of who is active' USING ERRCODE = 'insufficient_privilege';
    END IF;
    SELECT s.sign_off_id, s.step + 1 INTO NEW.previous, NEW.step FROM immiiq.sign_off AS s
    WHERE s.org_id = NEW.org_id AND s.table_schema = NEW.table_schema AND s.table_name = NEW.table_name AND s.row_id = NEW.row_id
        AND s.digest = NEW.digest
    ORDER BY s.step DESC LIMIT 1;
    NEW.step := coalesce(NEW.step, 1);
    NEW.signed_at := clock_timestamp();
    NEW.signature := immiiq.sign_statement(immiiq.sign_off_statement(NEW));
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION immiiq.stamp_sign_off() IS 'trigger: whoever signs, what and when is the database''s to say';
REVOKE ALL ON FUNCTION immiiq.stamp_sign_off() FROM PUBLIC;
CREATE TRIGGER stamp_sign_off BEFORE INSERT ON immiiq.sign_off FOR EACH ROW EXECUTE FUNCTION immiiq.stamp_sign_off();

CREATE POLICY immiiq_select ON immiiq.signature_on_file FOR SELECT
    USING (immiiq.visible(NULL, 'select', org_id, NULL, NULL, NULL, NULL));
CREATE POLICY immiiq_insert ON immiiq.signature_on_file FOR INSERT
    WITH CHECK (immiiq.visible(NULL, 'insert', org_id, NULL, NULL, NULL, NULL)
        AND member_id OPERATOR(pg_catalog.=) immiiq.current_member()
        AND EXISTS (SELECT FROM immiiq.document AS d
                    WHERE d.org_id OPERATOR(pg_catalog.=) signature_on_file.org_id
                        AND d.document_id OPERATOR(pg_catalog.=) signature_on_file.document_id));
CREATE POLICY immiiq_select ON immiiq.sign_off FOR SELECT
    USING (immiiq.visible(NULL, 'select', org_id, NULL, NULL, NULL, NULL));
CREATE POLICY immiiq_insert ON immiiq.sign_off FOR INSERT
    WITH CHECK (immiiq.visible(NULL, 'insert', org_id, NULL, NULL, NULL, NULL));
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['signature_on_file', 'sign_off'] LOOP
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE pg_catalog.format('REVOKE ALL ON immiiq.%I FROM PUBLIC', name);
        EXECUTE pg_catalog.format('CREATE TRIGGER "00_immiiq_capture" AFTER INSERT OR UPDATE OR DELETE ON immiiq.%I
            FOR EACH ROW EXECUTE FUNCTION immiiq.capture()', name);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ENABLE ALWAYS TRIGGER "00_immiiq_capture"', name);
        EXECUTE pg_catalog.format('CREATE TRIGGER immiiq_truncate BEFORE TRUNCATE ON immiiq.%I
            FOR EACH STATEMENT EXECUTE FUNCTION immiiq.refuse_truncate()', name);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ENABLE ALWAYS TRIGGER immiiq_truncate', name);
        PERFORM pg_catalog.pg_extension_config_dump(pg_catalog.format('immiiq.%I', name)::pg_catalog.regclass, '');
    END LOOP;
END
$$;

CREATE FUNCTION immiiq.sign_off(target regclass, id text, meaning text) RETURNS uuid
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    made constant uuid := gen_random_uuid();
BEGIN
    INSERT INTO immiiq.sign_off (sign_off_id, table_schema, table_name, row_id, meaning)
    SELECT made, n.nspname, c.relname, sign_off.id, sign_off.meaning
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = target;
    RETURN made;
END
$$;
COMMENT ON FUNCTION immiiq.sign_off(regclass, text, text) IS 'signs a row as it is now: for members with the permission sign_off and a signature on file';
REVOKE ALL ON FUNCTION immiiq.sign_off(regclass, text, text) FROM PUBLIC;

CREATE FUNCTION immiiq.sign_off_status(target regclass, id text)
    RETURNS TABLE (step integer, member_id uuid, meaning text, signed_at timestamptz, holds boolean)
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    present constant bytea := immiiq.digest_of(target, id);
BEGIN
    IF present IS NULL THEN
        PERFORM immiiq.note_unreachable('sign_off_status');
        RETURN;
    END IF;
    RETURN QUERY
    SELECT s.step, s.member_id, s.meaning, s.signed_at,
           s.digest = present AND immiiq.verify_ed25519(immiiq.sign_off_key(), convert_to(immiiq.sign_off_statement(s), 'UTF8'), s.signature)
    FROM immiiq.sign_off AS s
        JOIN pg_class AS c ON c.oid = target AND c.relname = s.table_name
        JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = s.table_schema
    WHERE s.org_id = immiiq.current_org() AND s.row_id = sign_off_status.id
    ORDER BY s.signed_at;
END
$$;
COMMENT ON FUNCTION immiiq.sign_off_status(regclass, text) IS 'every signature of a row, and whether it holds for the row as it is now';
REVOKE ALL ON FUNCTION immiiq.sign_off_status(regclass, text) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'SELECT, INSERT (document_id)', 'TABLE immiiq.signature_on_file'),
    ('operator', 'SELECT', 'TABLE immiiq.signature_on_file'),
    ('application', 'SELECT, INSERT (sign_off_id, table_schema, table_name, row_id, meaning)', 'TABLE immiiq.sign_off'),
    ('operator', 'SELECT', 'TABLE immiiq.sign_off'),
    ('auditor', 'SELECT', 'TABLE immiiq.sign_off'),
    ('application', 'EXECUTE', 'FUNCTION immiiq.sign_off(regclass, text, text)'),
    ('application', 'EXECUTE', 'FUNCTION immiiq.sign_off_status(regclass, text)'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.sign_off_status(regclass, text)'),
    ('auditor', 'EXECUTE', 'FUNCTION immiiq.sign_off_key()');
