#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bitchat_fuzz::handshake_m2(data));
