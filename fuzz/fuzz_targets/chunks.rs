#![no_main]
libfuzzer_sys::fuzz_target!(|octets: &[u8]| zmio_fuzz::chunks(octets));
