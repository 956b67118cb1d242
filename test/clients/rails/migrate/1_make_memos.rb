class MakeMemos < ActiveRecord::Migration[6.1]
  def up
    create_table :rails_memos, id: :uuid do |t|
      t.uuid :org_id
      t.column :text, 'enc_text(match)'
    end
    execute "SELECT immiiq.protect('rails_memos', 'cases')"
  end
end
