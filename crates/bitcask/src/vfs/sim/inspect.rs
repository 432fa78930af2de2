//! What a test does behind the engine's back: look at files, plant and damage them, ask what is durable. None of it
//! counts as an operation, fails, or leaves anything pending.

use super::disk::{InodeId, SimDisk, State};
use super::image::Image;
use super::inode::Inode;
use super::to_u64;
use std::ops::Range;
use std::path::Path;

impl SimDisk {
    /// The names of all files as the engine sees them, sorted by directory and name.
    pub(crate) fn files(&self) -> Vec<String> {
        self.state().named_files().into_iter().map(|(name, _)| name).collect()
    }

    pub(crate) fn exists(&self, file: &str) -> bool {
        self.state().look_up(file).is_some()
    }

    /// The bytes of a file as the engine sees them.
    pub(crate) fn read_file(&self, file: &str) -> Vec<u8> {
        let state = self.state();
        state.inode(state.find_file(file)).current.to_vec()
    }

    /// The length of the file as the engine sees it.
    pub(crate) fn file_len(&self, file: &str) -> u64 {
        let state = self.state();
        state.inode(state.find_file(file)).current.len()
    }

    /// Makes a file, or replaces the bytes of the one that is there, handles and all. Durable at once. The directory
    /// of a name with a path is made when it is missing.
    pub(crate) fn write_file(&self, file: &str, bytes: &[u8]) {
        self.state().plant(file, Inode::settled(Image::from_bytes(bytes)));
    }

    /// Puts something that is not a regular file in a file's place: a link, a pipe, a device.
    pub(crate) fn make_special(&self, file: &str) {
        self.state().plant(file, Inode { is_special: true, ..Inode::default() });
    }

    /// Removes a file's name. Durable at once.
    pub(crate) fn remove_file(&self, file: &str) {
        let mut state = self.state();
        state.find_file(file);
        let (directory, name) = state.locate(file);
        state.directory_mut(directory).settle(&name.into(), None);
        state.bury_unreachable();
    }

    /// Flips one bit, counted from the lowest of the first byte, in the cache and on the disk.
    pub(crate) fn flip_bit(&self, file: &str, bit: u64) {
        let mut state = self.state();
        let id = state.find_file(file);
        let inode = state.inode_mut(id);
        assert!(bit / 8 < inode.current.len(), "{file} has no bit {bit}");
        for image in [&mut inode.current, &mut inode.durable] {
            let mut byte = [0];
            image.read(&mut byte, bit / 8);
            image.patch(&[byte[0] ^ 1 << (bit % 8)], bit / 8);
        }
    }

    /// Overwrites bytes that are there, in the cache and on the disk: a stale or misdirected write.
    pub(crate) fn overwrite(&self, file: &str, offset: u64, bytes: &[u8]) {
        let mut state = self.state();
        let id = state.find_file(file);
        let inode = state.inode_mut(id);
        assert!(offset + to_u64(bytes.len()) <= inode.current.len(), "{file} ends before the damage does");
        inode.current.patch(bytes, offset);
        inode.durable.patch(bytes, offset);
    }

    /// The bytes that all files take up.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.state().used()
    }

    /// How many handles of files the process holds.
    pub(crate) fn open_handles(&self) -> usize {
        self.state().open_handles()
    }

    /// The length of the file on the disk.
    pub(crate) fn durable_len(&self, file: &str) -> u64 {
        let state = self.state();
        state.inode(state.find_file(file)).durable.len()
    }

    /// Whether every crash leaves these bytes as they read now, if it leaves the name.
    pub(crate) fn is_durable(&self, file: &str, range: Range<u64>) -> bool {
        let state = self.state();
        state.inode(state.find_file(file)).is_durable(range)
    }

    /// Whether the name is there and leads to the same file after every crash.
    pub(crate) fn is_name_durable(&self, file: &str) -> bool {
        let state = self.state();
        let (directory, name) = state.locate(file);
        state.look_up(file).is_some() && state.directory(directory).is_settled(name)
    }

    /// Whether the name is gone and stays so after every crash.
    pub(crate) fn is_removal_durable(&self, file: &str) -> bool {
        let state = self.state();
        let (directory, name) = state.locate(file);
        state.look_up(file).is_none() && state.directory(directory).is_settled(name)
    }
}

impl State {
    /// The directory of a file, which exists, and the name in it.
    fn locate<'a>(&self, file: &'a str) -> (usize, &'a str) {
        match file.rsplit_once('/') {
            Some((path, name)) => {
                let found = self.find_directory(Path::new(path));
                (found.expect("the directory in the file's name exists"), name)
            }
            None => {
                assert!(!self.directories.is_empty(), "no directory was made yet for {file}");
                (0, file)
            }
        }
    }

    fn look_up(&self, file: &str) -> Option<InodeId> {
        let (directory, name) = self.locate(file);
        self.directory(directory).current.get(name).copied()
    }

    pub(super) fn find_file(&self, file: &str) -> InodeId {
        self.look_up(file).unwrap_or_else(|| panic!("the disk has no file {file}"))
    }

    /// Every file that has a name, by the name that [`State::find_file`] finds it under.
    pub(super) fn named_files(&self) -> Vec<(String, InodeId)> {
        let mut files = Vec::new();
        for (index, (path, directory)) in self.directories.iter().enumerate() {
            for (name, id) in &directory.current {
                let name = if index == 0 { name.to_string() } else { format!("{}/{name}", path.display()) };
                files.push((name, *id));
            }
        }
        files
    }

    /// Puts a file in the place of what has the name, if anything has.
    fn plant(&mut self, file: &str, mut inode: Inode) {
        if let Some((path, _)) = file.rsplit_once('/') {
            self.make_directory(Path::new(path));
        }
        let (directory, name) = self.locate(file);
        let id = match self.look_up(file) {
            Some(id) => {
                // A map of the longer file faults past the new end, and that is not the engine's doing.
                inode.was_cut = inode.current.len() < self.inode(id).current.len();
                *self.inode_mut(id) = inode;
                id
            }
            None => self.add_inode(inode),
        };
        self.directory_mut(directory).settle(&name.into(), Some(id));
    }
}
