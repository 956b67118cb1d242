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
        EXECUTE pg_catalog.format('CREATE TRIGGER immiiq_capture AFTER INSERT OR UPDATE OR DELETE ON immiiq.%I
            FOR EACH ROW EXECUTE FUNCTION immiiq.capture()', name);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ENABLE ALWAYS TRIGGER immiiq_capture', name);
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
