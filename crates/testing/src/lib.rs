//! What the long tests of this workspace share: how long they may take, the names of their cases, how one is repeated,
//! other processes, and how a test says that a machine does not allow it.
//!
//! Nothing here knows of stores; it is the one place where tests read the environment:
//!
//! | variable | means |
//! |---|---|
//! | `BITCASK_TIER` | `commit` (or unset), `nightly`, `release`: how much a sweep goes through |
//! | `BITCASK_SEED` | another seed than 1: other chances |
//! | `BITCASK_CASE` | only this case of a sweep |
//! | `BITCASK_NO_SKIP` | whatever would be skipped fails |

mod allocator;
mod child;
mod corpus;
mod skip;
mod sweep;
mod tier;

pub use allocator::{Counting, peak_of};
pub use child::{OtherProcess, STORE, content, role, say, wait_for_parent};
pub use corpus::{Target, check_corpus, corpus};
pub use skip::skip;
pub use sweep::Sweep;
pub use tier::Tier;
