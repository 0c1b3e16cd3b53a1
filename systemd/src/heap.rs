//! Gives free memory back to the system, and the one place of this crate that may be `unsafe`.
//!
//! What is freed in small pieces stays with the process: glibc keeps it for later, and gives back only what lies at the end of its heaps. A
//! control group counts it all the same, so that tables made smaller would help nobody. glibc has one call for that, which no safe crate
//! offers.

#![allow(unsafe_code, reason = "the fence: see the module's first lines")]

/// Gives back what is free, in whole pages; takes milliseconds for each hundred megabytes. Does nothing where the C library is not glibc.
pub fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> i32;
        }
        // SAFETY: it takes a number, may be called at any time from any thread (it takes the locks of each heap), and gives back only pages
        // that lie wholly in free memory.
        let _ = unsafe { malloc_trim(0) };
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn what_was_freed_between_what_is_kept_is_given_back() {
        let resident = || -> usize {
            let statm = std::fs::read_to_string("/proc/self/statm").expect("statm");
            statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("pages")
        };
        let mut pieces: Vec<Option<Box<[u8; 2000]>>> =
            (0..40_000).map(|_| Some(Box::new([7; 2000]))).collect();
        for (n, piece) in pieces.iter_mut().enumerate() {
            if n % 100 != 0 {
                *piece = None;
            }
        }
        let before = resident();
        super::trim();
        let after = resident();
        assert!(after + 10_000 < before, "{before} pages before, {after} after");
        assert!(pieces.iter().flatten().all(|piece| piece[0] == 7));
    }
}
