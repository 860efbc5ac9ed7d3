//! Scenarios: the whole product against real servers. The tests are in `tests/it`.
