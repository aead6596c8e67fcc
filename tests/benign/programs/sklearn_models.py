"""Train, validate and compare models, in parallel where they can."""

import joblib
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris, make_regression
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

x, y = load_iris(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x_train, y_train)
print(accuracy_score(y_test, model.predict(x_test)) > 0.9, confusion_matrix(y_test, model.predict(x_test)).shape)
forest = RandomForestClassifier(50, n_jobs=2, random_state=0).fit(x_train, y_train)
print(forest.score(x_test, y_test) > 0.9, len(forest.feature_importances_))
print(cross_val_score(LogisticRegression(max_iter=500), x, y, cv=3).mean() > 0.9)
print(len(set(KMeans(3, n_init=2, random_state=0).fit_predict(x))), PCA(2).fit_transform(x).shape)
data, target = make_regression(100, 3, noise=0, random_state=0)
print(round(LinearRegression().fit(data, target).score(data, target), 3))
joblib.dump(model, "model.joblib")
print((joblib.load("model.joblib").predict(x_test) == model.predict(x_test)).all())

# Prints:
# True (3, 3)
# True 4
# True
# 3 (150, 2)
# 1.0
# True
# Leaves:
# created model.joblib
