//! The path of a request, from its bytes to the answer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hookspool_fuzz::request(data));
