"""What must survive a restart, or be the same at every gateway: an interface (`store`), and who keeps to it (`sqlite`).

Nothing here knows a proxy, a call or a configuration. Stores block: they are asked from threads, never on a call's way.
"""
