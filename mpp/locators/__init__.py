"""Where backends are found: one module for each kind of source, all of them `mpp.interfaces.ILocator`."""
