-- The database of an immigration practice under immiiq: six tables, as you would write them anyway.
-- What immiiq adds: types that seal (enc_text, enc_date), and one call of immiiq.protect() a table.

CREATE EXTENSION immiiq;

-- The web tier's login role, the auditors' and the operators'. None of them owns a table.
CREATE ROLE practice_app LOGIN;
CREATE ROLE practice_auditor LOGIN;
CREATE ROLE practice_operator LOGIN;
SELECT immiiq.grant_application('practice_app');
SELECT immiiq.grant_auditor('practice_auditor');
SELECT immiiq.grant_operator('practice_operator');

-- equality: can be searched with =, IN, joins and UNIQUE.   fold: the search ignores case, accents, spaces, punctuation.
-- match: LIKE and ILIKE find parts of it, by a GIN index.   sealed: can be read by whom the context allows, not searched.
CREATE TABLE clients (
    org_id uuid NOT NULL,
    client_id uuid NOT NULL DEFAULT gen_random_uuid(),
    name enc_text(equality, fold) NOT NULL,             -- as the person writes it
    latin_name enc_text(equality, fold, match) NOT NULL,-- as the passport's machine-readable lines have it; parts of it are found, too
    birth_date enc_date(equality) NOT NULL,
    nationality enc_text(sealed) NOT NULL,
    passport_no enc_text(equality, fold) NOT NULL,
    phone enc_text(equality, fold),
    email enc_text(equality, fold),
    family enc_text(sealed),                            -- partner and children
    status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'closed')),
    since date NOT NULL DEFAULT current_date,
    PRIMARY KEY (org_id, client_id),
    UNIQUE (org_id, passport_no)                        -- per organisation, like every key here
);
CREATE INDEX ON clients (org_id, birth_date);
CREATE INDEX ON clients (org_id, latin_name);
CREATE INDEX ON clients USING gin (latin_name);

CREATE TABLE cases (
    org_id uuid NOT NULL,
    case_id uuid NOT NULL DEFAULT gen_random_uuid(),
    client_id uuid NOT NULL,
    team_id uuid,
    assignee_id uuid,
    reference text NOT NULL,
    kind text NOT NULL,
    stage text NOT NULL,
    opened_on date NOT NULL,
    note enc_text(sealed),
    PRIMARY KEY (org_id, case_id),
    UNIQUE (org_id, reference),
    FOREIGN KEY (org_id, client_id) REFERENCES clients
);

CREATE TABLE communications (
    org_id uuid NOT NULL,
    communication_id uuid NOT NULL DEFAULT gen_random_uuid(),
    client_id uuid NOT NULL,
    channel text NOT NULL CHECK (channel IN ('e-mail', 'phone', 'letter', 'meeting')),
    at timestamptz NOT NULL,
    subject enc_text(sealed) NOT NULL,
    body enc_text(sealed) NOT NULL,
    PRIMARY KEY (org_id, communication_id),
    FOREIGN KEY (org_id, client_id) REFERENCES clients
);

CREATE TABLE documents (
    org_id uuid NOT NULL,
    document_id uuid NOT NULL DEFAULT gen_random_uuid(),
    client_id uuid NOT NULL,
    kind text NOT NULL,
    title enc_text(sealed) NOT NULL,
    number enc_text(equality, fold),                    -- of the certificate, contract or statement
    expires_on date,
    PRIMARY KEY (org_id, document_id),
    FOREIGN KEY (org_id, client_id) REFERENCES clients
);

CREATE TABLE invoices (
    org_id uuid NOT NULL,
    invoice_id uuid NOT NULL DEFAULT gen_random_uuid(),
    client_id uuid NOT NULL,
    number text NOT NULL,
    issued_on date NOT NULL,
    amount numeric(10, 2) NOT NULL,
    paid boolean NOT NULL DEFAULT false,
    payer enc_text(sealed) NOT NULL,
    PRIMARY KEY (org_id, invoice_id),
    UNIQUE (org_id, number),
    FOREIGN KEY (org_id, client_id) REFERENCES clients
);

-- Paid is what the payment provider says, in an event that it has signed, and nobody else (docs/documents.md).
CREATE TABLE payments (
    org_id uuid NOT NULL,
    payment_id uuid NOT NULL DEFAULT gen_random_uuid(),
    invoice_id uuid NOT NULL,
    checkout text NOT NULL,                             -- the provider's id of the payer's checkout
    status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'paid')),
    PRIMARY KEY (org_id, payment_id),
    UNIQUE (org_id, checkout),
    FOREIGN KEY (org_id, invoice_id) REFERENCES invoices
);

-- From here on every row belongs to an organisation, is seen only by whom scope and module allow, and is in the audit.
SELECT immiiq.protect('clients', 'clients', client => 'client_id');
SELECT immiiq.protect('cases', 'cases', client => 'client_id', team => 'team_id', assignee => 'assignee_id');
SELECT immiiq.protect('communications', 'communications', client => 'client_id');
SELECT immiiq.protect('documents', 'documents', client => 'client_id');
SELECT immiiq.protect('invoices', 'invoices', client => 'client_id');
SELECT immiiq.protect('payments', 'billing');

GRANT SELECT, INSERT, UPDATE, DELETE ON clients, cases, communications, documents, invoices TO practice_app;
GRANT SELECT, INSERT ON clients, cases, communications, documents, invoices TO practice_operator;

-- No role of the practice writes the column status. A verified event does, through a trigger of the DBA's.
GRANT SELECT, INSERT (invoice_id, checkout) ON payments TO practice_app;
CREATE FUNCTION settle_payment() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE public.payments AS p SET status = 'paid'
    WHERE p.org_id = NEW.org_id AND p.checkout = NEW.object_id AND NEW.type = 'checkout.session.completed' AND NEW.object_status = 'paid';
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION settle_payment() FROM PUBLIC;
CREATE TRIGGER settle_payment AFTER INSERT ON immiiq.webhook_event FOR EACH ROW EXECUTE FUNCTION settle_payment();
