//! Reading and rewriting the server's own definitions (`SHOW CREATE …`), token by token. Pure text work: nothing here connects.

pub(super) mod adapt;
pub(super) mod lexer;
pub(super) mod table;
