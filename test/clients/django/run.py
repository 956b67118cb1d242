"""What test/clients/orms.mjs asks of every mapper, in Django's words."""
import json
import os
import re
import sys
import uuid
from io import StringIO
from types import SimpleNamespace

import django
from django.conf import settings
from django.core.management import call_command

sys.path.insert(0, os.path.dirname(__file__))
server = {'ENGINE': 'django.db.backends.postgresql', 'NAME': os.environ['PGDATABASE'], 'HOST': os.environ['PGHOST']}
settings.configure(
    DATABASES={'default': {**server, 'USER': os.environ['PGUSER']}, 'owner': {**server, 'USER': os.environ['AUTHOR']}},
    INSTALLED_APPS=['practice'], DEFAULT_AUTO_FIELD='django.db.models.AutoField', USE_TZ=True)
django.setup()

from django.db import ProgrammingError, connection, transaction
from practice.models import Client, Planted


def as_member(token, work):
    with transaction.atomic(), connection.cursor() as cursor:
        if token:
            cursor.execute("SELECT set_config('immiiq.token', %s, true)", [token])
        return work()


# The middleware of docs/clients.md, as it stands there.
with open(os.path.join(os.path.dirname(__file__), '../../../docs/clients.md'), encoding='utf-8') as page:
    exec(re.search(r'```python\n(class ImmiiqMiddleware:.*?)```', page.read(), re.S).group(1))


def through_middleware(session, work):
    return ImmiiqMiddleware(lambda request: work())(SimpleNamespace(session=session))


def trip():
    row = Client.objects.create(client_id=uuid.uuid4(), name='Zoë Nuñez', note='orm')
    first = Client.objects.get(name='Zoë Nuñez').name
    row.name = 'Zoë Nuñez-Ruiz'
    row.save(update_fields=['name'])
    second = Client.objects.get(client_id=row.client_id).name
    row.delete()
    left = Client.objects.filter(name='Zoë Nuñez-Ruiz').first()
    return [first, second, left and left.name]


def refused():
    try:
        as_member(owner, lambda: Planted.objects.create(client_id=uuid.uuid4(), org_id=os.environ['BETA'], note='planted'))
    except ProgrammingError as error:
        return error.__cause__.pgcode


owner, lead = os.environ['OWNER'], os.environ['LEAD']
model = StringIO()
call_command('inspectdb', 'client', stdout=model)
call_command('migrate', database='owner', verbosity=0)
print(json.dumps({
    'owner': as_member(owner, lambda: Client.objects.count()),
    'lead': through_middleware({'immiiq_token': lead}, lambda: len(list(Client.objects.all().iterator()))),
    'hidden': as_member(lead, lambda: sum('HIDDEN' in row.name + row.note for row in Client.objects.all())),
    'nobody': through_middleware({}, lambda: Client.objects.count()),
    'found': as_member(lead, lambda: [row.note for row in Client.objects.filter(name='open name 4')]),
    'beyond': as_member(lead, lambda: [row.note for row in Client.objects.filter(name__in=['HIDDEN name 3', 'CANARY name 1'])]),
    'trip': as_member(owner, trip),
    'refused': refused(),
    'columns': model.getvalue(),
    'after': Client.objects.count(),
    'migrated': 'django_memo',
}))
