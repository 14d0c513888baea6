//! The drivers of the kernel, for tests that have a module for each. A new one needs a line here.

/// Calls a macro with the name of a module and a variant of `DriverKind` for each driver.
macro_rules! with_each_driver {
    ($macro:ident) => {
        $macro! {
            uring => Uring,
            epoll => Epoll,
            epoll_lt => EpollLevel,
            sigio => Sigio,
            poll => Poll,
            select => Select,
            spin => Spin,
            threads => Threads,
        }
    };
}
