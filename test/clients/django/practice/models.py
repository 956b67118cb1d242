from django.db import models


# Without the organisation: Django 3.2 would write NULL into it, where the column's default is that of the transaction.
class Client(models.Model):
    client_id = models.UUIDField(primary_key=True)
    name = models.TextField()
    note = models.TextField()

    class Meta:
        managed = False
        db_table = 'client'


class Planted(models.Model):
    client_id = models.UUIDField(primary_key=True)
    org_id = models.UUIDField()
    note = models.TextField()

    class Meta:
        managed = False
        db_table = 'client'
