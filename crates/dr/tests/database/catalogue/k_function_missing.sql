-- And a function or a type of another schema.
--: production
CREATE SCHEMA lib; CREATE FUNCTION lib.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TYPE lib.e AS ENUM ('a'); CREATE TABLE t (a int DEFAULT lib.f(), b lib.e);
--: refused on staging: there is no function `lib.f()`
--: refused on staging: there is no type `lib.e`
