"""What test/clients/orms.mjs asks of every mapper, in SQLAlchemy's words."""
import json
import os
import uuid

from sqlalchemy import MetaData, Table, Column, Text, create_engine, event, func, select, text
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session, declarative_base
from sqlalchemy.types import UserDefinedType

Base = declarative_base()


class Sealed(UserDefinedType):
    """A sealed text: the words of its declaration."""
    cache_ok = True

    def __init__(self, words='sealed'):
        self.words = words

    def get_col_spec(self, **kw):
        return f'enc_text({self.words})'


class Client(Base):
    __tablename__ = 'client'
    client_id = Column(UUID(as_uuid=True), primary_key=True)
    org_id = Column(UUID(as_uuid=True), server_default=text('immiiq.current_org()'))
    name = Column(Sealed('equality'))
    note = Column(Text)


class Memo(Base):
    __tablename__ = 'sqlalchemy_memo'
    id = Column(UUID(as_uuid=True), primary_key=True)
    org_id = Column(UUID(as_uuid=True), nullable=False)
    text = Column(Sealed('match'))


event.listen(Memo.__table__, 'after_create', lambda table, connection, **kw:
             connection.execute(text("SELECT immiiq.protect('sqlalchemy_memo', 'cases')")))

place = f"@/{os.environ['PGDATABASE']}?host={os.environ['PGHOST']}"
engine = create_engine(f"postgresql+psycopg2://{os.environ['PGUSER']}{place}", pool_size=1, max_overflow=0)
owner, lead = os.environ['OWNER'], os.environ['LEAD']


def as_member(token, work):
    with Session(engine) as session, session.begin():
        if token:
            session.execute(select(func.set_config('immiiq.token', token, True)))
        return work(session)


def count(session):
    return session.execute(select(func.count()).select_from(Client)).scalar_one()


def trip(session):
    row = Client(client_id=uuid.uuid4(), name='Zoë Nuñez', note='orm')
    session.add(row)
    session.flush()
    session.expire_all()
    first = session.scalars(select(Client).where(Client.name == 'Zoë Nuñez')).one().name
    row.name = 'Zoë Nuñez-Ruiz'
    session.flush()
    session.expire_all()
    second = row.name
    session.delete(row)
    session.flush()
    return [first, second, session.scalars(select(Client.name).where(Client.name == 'Zoë Nuñez-Ruiz')).first()]


def refused():
    try:
        as_member(owner, lambda session: (session.add(Client(client_id=uuid.uuid4(), org_id=uuid.UUID(os.environ['BETA']), note='planted')), session.flush()))
    except ProgrammingError as error:
        return error.orig.pgcode


def notes(session, *names):
    return session.scalars(select(Client.note).where(Client.name.in_(names))).all()


Base.metadata.create_all(create_engine(f"postgresql+psycopg2://{os.environ['AUTHOR']}{place}"), tables=[Memo.__table__])
print(json.dumps({
    'owner': as_member(owner, count),
    'lead': as_member(lead, count),
    'hidden': as_member(lead, lambda session: sum('HIDDEN' in row.name + row.note for row in session.scalars(select(Client)))),
    'nobody': as_member(None, count),
    'found': as_member(lead, lambda session: notes(session, 'open name 4')),
    'beyond': as_member(lead, lambda session: notes(session, 'HIDDEN name 3', 'CANARY name 1')),
    'trip': as_member(owner, trip),
    'refused': refused(),
    'columns': [column.name for column in Table('client', MetaData(), autoload_with=engine).columns],
    'after': as_member(None, count),
    'migrated': 'sqlalchemy_memo',
}))
