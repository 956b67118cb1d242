-- What protect() makes, what it says of what it cannot, and how it refuses.
\set SHOW_CONTEXT never
CREATE TABLE pr_client (id int PRIMARY KEY, org_id uuid, email text UNIQUE, slug text, UNIQUE (org_id, slug));
SELECT immiiq.protect('pr_client', 'clients');
SELECT immiiq.protect('pr_client', 'clients');
SELECT immiiq.protect('pr_client', 'everything');

-- A partitioned parent.
CREATE TABLE pr_case (id uuid, org_id uuid, opened date, PRIMARY KEY (id)) PARTITION BY HASH (id);
CREATE TABLE pr_case_0 PARTITION OF pr_case FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE TABLE pr_note (id uuid PRIMARY KEY, org_id uuid, case_id uuid REFERENCES pr_case);
SELECT immiiq.protect('pr_case', 'cases');
SELECT immiiq.protect('pr_note', 'cases');
SELECT immiiq.protect('pr_case_0', 'cases');

-- Names that would be cut short do not meet.
CREATE TABLE pr_a_table_with_a_name_that_is_as_long_as_names_can_be_in_one (id uuid PRIMARY KEY, org_id uuid, a_team_column_with_a_long_name_too uuid, assignee_id uuid);
CREATE TABLE pr_a_table_with_a_name_that_is_as_long_as_names_can_be_in_two (id uuid PRIMARY KEY, org_id uuid, a_team_column_with_a_long_name_too uuid, assignee_id uuid);
SELECT immiiq.protect('pr_a_table_with_a_name_that_is_as_long_as_names_can_be_in_one', NULL, team => 'a_team_column_with_a_long_name_too', assignee => 'assignee_id');
SELECT immiiq.protect('pr_a_table_with_a_name_that_is_as_long_as_names_can_be_in_two', NULL, team => 'a_team_column_with_a_long_name_too', assignee => 'assignee_id');

-- What a table looks like, with and without.
\d pr_note
ALTER TABLE pr_note DROP COLUMN org_id;
SELECT immiiq.unprotect('pr_note');
\d pr_note
CREATE POLICY wide ON pr_client USING (true);
DROP TABLE pr_client, pr_case, pr_note, pr_a_table_with_a_name_that_is_as_long_as_names_can_be_in_one, pr_a_table_with_a_name_that_is_as_long_as_names_can_be_in_two;
SELECT count(*) FROM immiiq.protection WHERE relid::text LIKE 'pr\_%';
