"""Every operation of AWS, there and back: what the tests and the benchmark both ask of the reader.

A real botocore client's request (`capture`), made from parameters of its operation's shapes (`parameters`), is read as
the call that made it (`compare`), and what was read, encoded again, is the same request (`canonical`).
"""
