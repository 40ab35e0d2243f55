-- PostgreSQL is upgraded by replication, too, from 14 and later to 16 and later. Rows that somebody changed stay.
update upgrade_paths p set ways = array['replica', 'in_place', 'twin']
from datastore_versions a, datastore_versions b
where p.from_version_id = a.id and p.to_version_id = b.id and p.ways = array['in_place'] and p.note = 'a real pair of this service'
and a.engine = 'postgresql' and a.runtime = 'process'
and split_part(a.version_number, '.', 1)::int >= 14 and split_part(b.version_number, '.', 1)::int >= 16;
