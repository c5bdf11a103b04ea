"""A stand-in for Amazon Nova Sonic and the Converse API that speaks their real wire protocols.

    __main__        command line                     server        TLS, ALPN, HTTP/1.1 for Converse
    control         HTTP API for tests and benches   http2         full-duplex streams, and their failures
    service         what all streams share           sonic_stream  one stream: the shell around what follows
    frames, eventstream, fields, validator           bytes in, checked input events out
    engine, listener, turns, delivery, outputs       input events in, output events out, in virtual time
    faults, settings, records, service_errors        what goes wrong, how, what was seen, what is said of it
    converse        Nova Micro's operation           interfaces    what ears, voices and minds have to do

Everything but `__main__`, `control`, `converse`, `http2`, `server`, `service` and `sonic_stream` is free of I/O.
"""
