"""What every service needs: ports, stores, brokers, folders. Each looks, and touches nothing."""
