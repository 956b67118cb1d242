Functions: every one that the application may call, with NULLs, foreign ids and other arguments (test/attack/fuzz.sql).

-- case call_as_nobody (none, says /functions called, often answered$/, no control): calls every function without any identity
SET statement_timeout = '900s';
SELECT call_everything(:calls, ARRAY[:'beta', :'beta_owner', :'beta_team', :'canary', :'mine_hidden', :'alpha_owner', :'alpha_south', :'alpha', 'ffffffff-ffff-4fff-8fff-ffffffffffff']);
-- case call_as_clerk (alpha_clerk, hidden): calls every function with ids of another organisation and of colleagues' clients
SET LOCAL statement_timeout = '900s';
SELECT call_everything(:calls, ARRAY[:'beta', :'beta_owner', :'beta_team', :'canary', :'mine_hidden', :'alpha_owner', :'alpha_south', :'alpha', 'ffffffff-ffff-4fff-8fff-ffffffffffff']);
-- case call_as_portal (alpha_portal, hidden): calls every function with the same from the portal
SET LOCAL statement_timeout = '900s';
SELECT call_everything(:calls, ARRAY[:'beta', :'beta_owner', :'beta_team', :'canary', :'mine_hidden', :'alpha_owner', :'alpha_south', :'alpha', 'ffffffff-ffff-4fff-8fff-ffffffffffff']);
-- case call_as_owner (alpha_owner, hidden): calls every function with every module, against another organisation
SET LOCAL statement_timeout = '900s';
SELECT call_everything(:calls, ARRAY[:'beta', :'beta_owner', :'beta_team', :'canary', 'ffffffff-ffff-4fff-8fff-ffffffffffff']);
