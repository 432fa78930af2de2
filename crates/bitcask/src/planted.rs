//! Mistakes that tests plant, to prove that tests find them: see `tests::planted`.
//!
//! `planted!("name", wrong)` does what is wrong where the mistake `name` is planted, and is nothing otherwise.
//! `planted!("name", let x = wrong)` gives `x` that value there. `planted!("name", wrong, right)` is `wrong` there, and
//! `right` otherwise.
//!
//! That takes a test build with `--cfg planted`. In every other build, a release above all, what is wrong is not compiled.

#[cfg(all(test, planted))]
macro_rules! planted {
    ($name:literal, let $variable:ident = $wrong:expr) => {
        let $variable = if $crate::tests::planted::is($name) { $wrong } else { $variable };
    };
    ($name:literal, $wrong:expr) => {
        if $crate::tests::planted::is($name) {
            $wrong;
        }
    };
    ($name:literal, $wrong:expr, $right:expr) => {
        if $crate::tests::planted::is($name) { $wrong } else { $right }
    };
}

#[cfg(not(all(test, planted)))]
macro_rules! planted {
    ($name:literal, let $variable:ident = $wrong:expr) => {};
    ($name:literal, $wrong:expr) => {};
    ($name:literal, $wrong:expr, $right:expr) => {
        $right
    };
}
