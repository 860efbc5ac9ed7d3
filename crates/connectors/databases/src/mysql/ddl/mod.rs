//! Reading and rewriting the server's own definitions (`SHOW CREATE …`), token by token. Pure text work: nothing here connects.

pub(super) mod adapt;
pub(super) mod definer;
pub(super) mod lexer;
pub(super) mod names;
pub(super) mod origin;
pub(super) mod stored;
pub(super) mod table;
