//! Gives memory back to the system that is free, or that can be had again, and the one place of this crate that may be `unsafe`.
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

/// Gives back the pages of the program's own code: what only the start needed does not count as this process's any more. What is needed
/// again comes from the file's pages, which the kernel still has, at the price of a minor fault. Says how many bytes of code this was about:
/// 0 where it cannot be seen which those are, or where they are locked.
pub fn forget_code() -> usize {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::mman::{MmapAdvise, madvise};

        let Ok(program) = std::fs::read_link("/proc/self/exe") else { return 0 };
        let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return 0 };
        let mut given = 0;
        for (start, length) in code_of(&maps, &program.to_string_lossy()) {
            let Some(start) = std::ptr::NonNull::new(std::ptr::with_exposed_provenance_mut(start)) else {
                continue;
            };
            // SAFETY: these pages can be read and executed and not written, so they are as in the file, and are read from it again when
            // they are touched; nobody holds them by a lock, and that they were there before is no promise.
            let done = unsafe { madvise(start, length, MmapAdvise::MADV_DONTNEED) };
            given += if done.is_ok() { length } else { 0 };
        }
        given
    }
    #[cfg(not(target_os = "linux"))]
    0
}

/// Where and how long the pieces of `program`'s code are, by the text of `/proc/self/maps`: what is mapped from that file, privately, to be
/// executed and not to be written. Pages that are only read are left out: those that the loader relocated look like them.
#[cfg(target_os = "linux")]
fn code_of(maps: &str, program: &str) -> Vec<(usize, usize)> {
    let piece = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let is_code = words.next()? == "r-xp";
        let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
        let is_own = line.strip_suffix(program).is_some_and(|before| before.ends_with(' '));
        (is_code && is_own).then_some((start, end.checked_sub(start)?))
    };
    maps.lines().filter_map(piece).collect()
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn code_is_what_is_executed_of_the_programs_file() {
        let maps = "55f990fad000-55f991453000 r--p 00000000 08:01 77 /usr/bin/slips\n\
                    55f991453000-55f992a23000 r-xp 004a6000 08:01 77                  /usr/bin/slips\n\
                    55f992a23000-55f992b33000 r--p 01a76000 08:01 77 /usr/bin/slips\n\
                    55f992b33000-55f992b43000 rwxp 01a76000 08:01 77 /usr/bin/slips\n\
                    7f5510000000-7f5510021000 r-xp 00000000 00:00 0\n\
                    7f5512000000-7f5512021000 r-xp 00000000 08:01 78 /usr/lib/libc.so.6\n\
                    x-y r-xp 00000000 08:01 78 /usr/bin/slips\n";
        assert_eq!(super::code_of(maps, "/usr/bin/slips"), [(0x55f9_9145_3000, 0x15d_0000)]);
        assert_eq!(super::code_of("", "/usr/bin/slips"), []);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_program_goes_on_without_the_pages_of_its_code() {
        let of_code = || -> u64 {
            let maps = std::fs::read_to_string("/proc/self/smaps").expect("smaps");
            let own = std::env::current_exe().expect("a program");
            let mut pieces = maps
                .split("VmFlags:")
                .filter(|piece| piece.contains(&*own.to_string_lossy()) && piece.contains(" r-xp "));
            let rss = |piece: &str| {
                piece
                    .lines()
                    .find_map(|line| line.strip_prefix("Rss:")?.trim().split(' ').next()?.parse::<u64>().ok())
            };
            pieces.by_ref().filter_map(rss).sum()
        };
        let sorted = |of: u32| {
            let mut numbers: Vec<u32> = (0..of).map(|n| n.wrapping_mul(2_654_435_761) % 1000).collect();
            numbers.sort_unstable();
            numbers
        };
        let (before, first) = (of_code(), sorted(1000));
        assert!(super::forget_code() >= 4096, "the program's code was found");
        assert_eq!(sorted(1000), first);
        assert!(of_code() <= before, "{before} KiB before, {} after", of_code());
    }

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
