//! Deliveries of sources that the configuration describes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hookspool_fuzz::read_generic(data));
