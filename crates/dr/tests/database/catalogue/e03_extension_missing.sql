-- An extension that staging lacks is named before anything is done.
--: production
CREATE EXTENSION hstore SCHEMA extensions; CREATE TABLE bag (id int, h extensions.hstore);
--: refused on staging: the extension `hstore` is missing, which production's schemas use (version 1.8): CREATE EXTENSION "hstore" SCHEMA "extensions"
