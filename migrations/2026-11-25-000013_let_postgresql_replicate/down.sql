update upgrade_paths p set ways = array['in_place']
from datastore_versions a
where p.from_version_id = a.id and p.note = 'a real pair of this service' and a.engine = 'postgresql' and a.runtime = 'process';
