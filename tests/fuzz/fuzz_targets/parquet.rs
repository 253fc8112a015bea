//! See `parquet` among the targets of the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fl_fuzz::run("parquet", data));
