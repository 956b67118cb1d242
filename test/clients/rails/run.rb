# What test/clients/orms.mjs asks of every mapper, in the words of Rails' Active Record.
require 'active_record'
require 'json'
require 'securerandom'

SERVER = { adapter: 'postgresql', host: ENV['PGHOST'], database: ENV['PGDATABASE'] }.freeze

class Client < ActiveRecord::Base
  self.table_name = 'client'
  self.primary_key = 'client_id'
end

def as_member(token)
  ActiveRecord::Base.transaction do
    ActiveRecord::Base.connection.exec_query("SELECT set_config('immiiq.token', $1, true)", 'immiiq', [token]) if token
    yield
  end
end

ActiveRecord::Base.establish_connection(SERVER.merge(username: ENV['AUTHOR']))
ActiveRecord::Migration.verbose = false
ActiveRecord::MigrationContext.new(File.join(__dir__, 'migrate'), ActiveRecord::SchemaMigration).migrate
ActiveRecord::Base.establish_connection(SERVER.merge(username: ENV['PGUSER'], pool: 1))

def trip
  row = Client.create!(name: 'Zoë Nuñez', note: 'orm', client_id: SecureRandom.uuid)
  first = Client.find_by(name: 'Zoë Nuñez').name
  row.update!(name: 'Zoë Nuñez-Ruiz')
  second = Client.find(row.client_id).name
  row.destroy!
  [first, second, Client.find_by(name: 'Zoë Nuñez-Ruiz')&.name]
end

def refused
  as_member(ENV['OWNER']) { Client.create!(client_id: SecureRandom.uuid, org_id: ENV['BETA'], note: 'planted') }
  nil
rescue ActiveRecord::StatementInvalid => e
  e.cause.result.error_field(PG::PG_DIAG_SQLSTATE)
end

puts JSON.generate(
  owner: as_member(ENV['OWNER']) { Client.count },
  lead: as_member(ENV['LEAD']) { Client.count },
  hidden: as_member(ENV['LEAD']) { Client.all.count { |row| (row.name + row.note).include?('HIDDEN') } },
  nobody: as_member(nil) { Client.count },
  found: as_member(ENV['LEAD']) { Client.where(name: 'open name 4').pluck(:note) },
  beyond: as_member(ENV['LEAD']) { Client.where(name: ['HIDDEN name 3', 'CANARY name 1']).pluck(:note) },
  trip: as_member(ENV['OWNER']) { trip },
  refused: refused,
  columns: Client.column_names,
  after: Client.count,
  migrated: 'rails_memos'
)
