import uuid

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel('Memo', [
            ('id', models.UUIDField(primary_key=True, default=uuid.uuid4)),
            ('org_id', models.UUIDField()),
            ('text', models.TextField()),
        ], options={'db_table': 'django_memo'}),
        migrations.RunSQL("ALTER TABLE django_memo ALTER text TYPE enc_text(match) USING text::enc_text(match)"),
        migrations.RunSQL("SELECT immiiq.protect('django_memo', 'cases')"),
    ]
