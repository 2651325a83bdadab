"""What may leave a machine, when, and how it is released: the part of MetaVox that both ends share.

The SDK and the collector never import each other; all they have in common is here. Nothing in this
package opens a socket, a database or a file of the user's. :mod:`~metavox_privacy.schema` is the one
list from which everything else derives.
"""
