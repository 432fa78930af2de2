//! The files of a store: each kind with its name, its life on disk, and the checks before its bytes are believed.

pub(crate) mod count;
pub(crate) mod data_file;
pub(crate) mod hint_file;
pub(crate) mod layout;
pub(crate) mod manifest_file;
pub(crate) mod replace;
pub(crate) mod scan;
