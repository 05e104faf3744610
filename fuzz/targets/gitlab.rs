//! GitLab's deliveries.

#![no_main]

use hookspool_common::forges::{Dialect, Provider};

libfuzzer_sys::fuzz_target!(|data: &[u8]| hookspool_fuzz::read(&Dialect::Forge(Provider::Gitlab), data));
